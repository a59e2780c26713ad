"""The clock that a test moves by hand."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from costscope.testing import ManualClock


def test_it_stands_still_until_it_is_moved():
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert clock() == clock() == 1_772_323_200 * 10**9
    clock.advance(0.25)
    clock.advance(timedelta(days=1))
    assert clock() == (1_772_323_200 + 86_400) * 10**9 + 250_000_000
    assert clock.now == datetime(2026, 3, 2, 0, 0, 0, 250_000, tzinfo=UTC)
    clock.advance(-0.25)
    assert clock.now == datetime(2026, 3, 2, tzinfo=UTC)


def test_it_can_be_set_in_any_time_zone_and_in_none_but_a_known_one():
    clock = ManualClock()
    clock.set(datetime(2026, 7, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now == datetime(2026, 7, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="has no time zone"):
        clock.set(datetime(2026, 7, 1))  # noqa: DTZ001 - that is the point


def test_the_kit_needs_pytest_only_for_the_conformance_suite():
    code = "import sys, costscope.testing; sys.exit('pytest' in sys.modules or 'costscope_valkey' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
