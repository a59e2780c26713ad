"""One state machine, two hosts: whatever is done to a ledger, Python and Lua give the same answers."""

from __future__ import annotations

import os

import pytest
from fake_valkey import FakeLink
from ledger_twins import compare_ledgers


def test_both_hosts_answer_and_keep_the_books_alike(link):
    compare_ledgers(link, examples=200)


def test_fakeredis_is_a_fair_stand_in():
    """What the quick tests rely on: the same script gives the same answers there."""
    compare_ledgers(FakeLink(), examples=12, steps=20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_both_hosts_agree_through_thousands_of_histories(link):
    compare_ledgers(link, examples=int(os.environ.get("COSTSCOPE_SOAK_EXAMPLES", "3000")), steps=60)
