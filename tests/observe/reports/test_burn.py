"""Burn rates: pure, and told by the snapshots alone."""

import pytest
from books_of import NOON_MS, account, snapshot
from hypothesis import given
from hypothesis import strategies as st

from costscope.observe.reports.account_rows import account_rows
from costscope.observe.reports.forecast import BurnRates

TOTAL = (0, 0)


class Watched:
    """Burn rates of ledgers whose one account, `day` unless told otherwise, has spent so much at so many seconds."""

    def __init__(self, window_s=60.0, window=TOTAL, budget="day"):
        self.rates = BurnRates(window_s)
        self._window = window
        self._budget = budget

    def see(self, seconds, *spent, meter="cost"):
        accounts = [account(self._budget, window=self._window, meters={meter: (one, 7)}) for one in spent]
        found = snapshot(*accounts, now_ms=NOON_MS + round(seconds * 1000))
        self.rates.observe(found.now_ms, account_rows(found))
        return self.rates.per_second(accounts[0].key, meter) if accounts else None


def test_the_first_snapshot_gives_the_mean_since_the_window_began():
    watched = Watched(window=(NOON_MS - 100_000, NOON_MS + 1))
    assert watched.see(0, 500) == 5


def test_an_account_without_a_window_has_a_rate_from_the_second_snapshot_on():
    watched = Watched()
    assert watched.see(0, 500) is None
    assert watched.see(10, 520) == 2


def test_only_the_last_window_counts():
    watched = Watched(window_s=60)
    watched.see(0, 0)
    watched.see(30, 3000)
    assert watched.see(90, 3000) == 0
    assert watched.see(120, 3600) == 10


def test_the_first_mean_fades_out_over_the_window():
    watched = Watched(window_s=60, window=(NOON_MS - 600_000, NOON_MS + 10**9))
    assert watched.see(0, 6000) == 10
    assert watched.see(30, 6000) == 5, "half of the last minute was at 10 per second, half at 0"
    assert watched.see(60, 6000) == 0


def test_an_account_that_appears_was_spent_since_the_snapshot_before():
    watched = Watched(window_s=60)
    watched.see(0)
    assert watched.see(20, 100) == 5


def test_an_account_that_appears_was_not_spent_before_its_window_began():
    watched = Watched(window_s=60, window=(NOON_MS + 10_000, NOON_MS + 10**9))
    watched.see(0)
    assert watched.see(20, 100) == 10


def test_what_is_forgiven_is_no_negative_burning():
    watched = Watched(window_s=60)
    watched.see(0, 1000)
    assert watched.see(10, 0) == 0
    assert watched.see(20, 40) == 2


def test_slots_do_not_burn():
    watched = Watched()
    watched.see(0, 0, meter="concurrent_runs")
    assert watched.see(10, 5, meter="concurrent_runs") is None


def test_an_account_that_has_left_the_books_is_forgotten():
    watched = Watched()
    watched.see(0, 0)
    watched.see(10, 5)
    watched.see(20)
    assert watched.rates.per_second(account("day", window=TOTAL).key, "cost") is None
    assert not watched.rates._tracks


@pytest.mark.parametrize("seconds", [10, 5])
def test_a_snapshot_that_is_not_younger_changes_nothing(seconds):
    watched = Watched()
    watched.see(0, 0)
    watched.see(10, 100)
    assert watched.see(seconds, 900) == 10


@given(
    steps=st.lists(st.tuples(st.integers(1, 90_000), st.integers(0, 10_000)), min_size=1, max_size=80),
    window_s=st.integers(1, 300),
)
def test_the_rate_is_what_was_spent_within_the_window(steps, window_s):
    """Against the definition, computed from all snapshots; marks that were merged shift at most their own share."""
    watched = Watched(window_s=window_s)
    at, spent, seen = 0, 0, [(0, 0)]
    watched.see(0, 0)
    for pause_ms, more in steps:
        at, spent = at + pause_ms, spent + more
        seen.append((at, spent))
        rate = watched.see(at / 1000, spent)
        since = max(at - window_s * 1000, 0)
        low, high = _at(seen, since - window_s * 1000 / 16), _at(seen, since + window_s * 1000 / 16)
        seconds = (at - since) / 1000
        assert (spent - high) / seconds - 1e-6 <= rate <= (spent - low) / seconds + 1e-6
    track = next(iter(watched.rates._tracks.values()))
    assert len(track.marks) <= 2 * 32 + 4, "bounded, however many snapshots there are"


def _at(seen, at):
    before = seen[0]
    for after in seen:
        if after[0] > at:
            if after is before:
                return after[1]
            return before[1] + (at - before[0]) / (after[0] - before[0]) * (after[1] - before[1])
        before = after
    return before[1]
