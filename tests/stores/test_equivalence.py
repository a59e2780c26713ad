"""One state machine, two hosts: whatever is done to a ledger, Python and Lua give the same answers."""

from __future__ import annotations

import os

import pytest
from ledger_twins import compare_ledgers


def test_both_hosts_answer_and_keep_the_books_alike(link):
    compare_ledgers(link, examples=100)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_both_hosts_agree_through_thousands_of_histories(link):
    compare_ledgers(link, examples=int(os.environ.get("COSTSCOPE_SOAK_EXAMPLES", "3000")), steps=60)
