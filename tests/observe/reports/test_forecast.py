"""Forecasts: exhausted when, and before the reset or not."""

import math

import pytest
from books_of import DAY_MS, account, snapshot
from hypothesis import given
from hypothesis import strategies as st

from costscope.observe.reports.account_rows import account_rows
from costscope.observe.reports.forecast import forecast

HALF_A_DAY = DAY_MS / 2000


def look(spent, held=0, *, limit=1000, rate=None, window=None):
    found = snapshot(account(limits={"cost": limit}, meters={"cost": (spent, held)}, window=window))
    [row] = account_rows(found)
    return forecast(row, row.meters[0], found.now_ms, rate)


def test_what_is_held_counts_as_used():
    found = look(300, 200, rate=5.0)
    assert (found.left, found.utilisation, found.exhausted_s) == (500, 0.5, 100)


def test_exhausted_before_the_reset():
    found = look(500, rate=1.0)
    assert (found.exhausted_s, found.reset_s, found.lasts) == (500, HALF_A_DAY, False)


def test_a_slow_burn_lasts_to_the_reset_and_says_how_full_it_will_be():
    rate = 200 / HALF_A_DAY
    found = look(500, rate=rate)
    assert found.lasts
    assert found.at_reset == pytest.approx(0.7)


def test_nothing_is_being_spent():
    assert (look(500, rate=0.0).exhausted_s, look(500, rate=0.0).lasts) == (math.inf, True)


def test_without_a_window_anything_that_burns_ends():
    found = look(500, rate=1e-9, window=(0, 0))
    assert (found.reset_s, found.lasts, found.at_reset) == (None, False, None)


@pytest.mark.parametrize("spent", [1000, 1700])
@pytest.mark.parametrize("rate", [None, 0.0, 3.0])
def test_exhausted_is_exhausted_whatever_the_rate(spent, rate):
    found = look(spent, rate=rate)
    assert (found.left, found.exhausted_s, found.lasts) == (0, 0.0, False)


def test_an_unknown_rate_gives_no_forecast():
    found = look(500)
    assert (found.exhausted_s, found.at_reset, found.lasts) == (None, None, True)


def test_a_limit_of_zero_is_full_and_no_limit_has_no_forecast():
    assert look(0, limit=0).utilisation == 1.0
    found = snapshot(account(limits={}))
    [row] = account_rows(found)
    assert forecast(row, row.meters[0], found.now_ms, 1.0) is None


@given(
    spent=st.integers(0, 2**53),
    held=st.integers(0, 2**53),
    limit=st.integers(0, 2**53),
    rate=st.floats(0, 1e12),
)
def test_lasting_and_the_use_at_the_reset_agree(spent, held, limit, rate):
    found = look(spent, held, limit=limit, rate=rate)
    assert found.exhausted_s >= 0
    assert 0 <= found.left <= limit
    if found.left and abs(found.at_reset - 1) > 1e-9:
        assert found.lasts == (found.at_reset < 1)
