"""Helpers for the tests of whole stores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from costscope_valkey.link import Link
from costscope_valkey.url import Timeouts, parse_url


@pytest.fixture
def link(valkey_url):
    """To the shared server, with time-outs that no busy machine exceeds."""
    link = Link(replace(parse_url(valkey_url), timeouts=Timeouts(connect_s=5, operation_s=20, total_s=40)))
    yield link
    link.close()
