"""One state machine, two hosts: whatever is done to a ledger, Python and Lua give the same answers."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from ledger_twins import compare_ledgers

from costscope_valkey.link import Link
from costscope_valkey.url import Timeouts, parse_url


@pytest.fixture
def link(valkey_url):
    """To the shared server, with time-outs that no busy machine exceeds."""
    link = Link(replace(parse_url(valkey_url), timeouts=Timeouts(connect_s=5, operation_s=20, total_s=40)))
    yield link
    link.close()


def test_both_hosts_answer_and_keep_the_books_alike(link):
    compare_ledgers(link, examples=100)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_both_hosts_agree_through_thousands_of_histories(link):
    compare_ledgers(link, examples=int(os.environ.get("COSTSCOPE_SOAK_EXAMPLES", "5000")), steps=60)
