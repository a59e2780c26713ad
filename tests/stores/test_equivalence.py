"""One state machine, two hosts: whatever is done to a ledger, Python and Lua give the same answers."""

from __future__ import annotations

import os

import pytest
from fake_valkey import FakeLink
from ledger_twins import CornerComparison, QueueComparison, compare_ledgers

_MACHINES = pytest.mark.parametrize("machine", [CornerComparison, QueueComparison])


@_MACHINES
def test_both_hosts_answer_and_keep_the_books_alike(link, machine):
    compare_ledgers(link, machine=machine, examples=200)


@_MACHINES
def test_fakeredis_is_a_fair_stand_in(machine):
    """What the quick tests rely on: the same script gives the same answers there."""
    compare_ledgers(FakeLink(), machine=machine, examples=12, steps=20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@_MACHINES
def test_both_hosts_agree_through_thousands_of_histories(link, machine):
    examples = int(os.environ.get("COSTSCOPE_SOAK_EXAMPLES", "3000"))
    compare_ledgers(link, machine=machine, examples=examples, steps=60)
