"""The burn rate of a run against its own mean before, from points of its curve."""

from __future__ import annotations

import pytest

from costscope.engine.control.runaway import BASELINE_MS, CALLS_MIN, RECENT_MS, BurnRate

SECOND = 1000


def looked(*stretches, every_s=10):
    """What is said at the end of stretches of `(seconds, cost a second, calls a second)`."""
    burn, at_s, cost, calls, said = BurnRate(), 0, 0.0, 0.0, []
    for seconds, rate, often in stretches:
        for _ in range(0, seconds, every_s):
            at_s, cost, calls = at_s + every_s, cost + rate * every_s, calls + often * every_s
            said.append(burn.look((at_s * SECOND, round(cost), round(calls))))
    return said


def test_nothing_is_said_until_there_is_a_baseline_and_a_stretch_after_it():
    said = looked(((BASELINE_MS + RECENT_MS) // SECOND + 10, 7, 1))
    assert said[:-2] == [None] * (len(said) - 2)
    assert said[-2:] == [pytest.approx(1.0), pytest.approx(1.0)]


@pytest.mark.parametrize("times", [0.5, 1, 3, 10])
def test_a_rate_that_lasts_is_told_as_it_is(times):
    assert looked((1500, 10, 1), (450, 10 * times, 1))[-1] == pytest.approx(times)


@pytest.mark.parametrize("third", [0, 1, 2])
def test_the_least_third_counts(third):
    rates = [50, 50, 50]
    rates[third] = 10
    assert looked((1500, 10, 1), *((150, rate, 1) for rate in rates))[-1] == pytest.approx(1)


def test_a_stretch_goes_back_until_it_has_calls_enough():
    """One call in 40 seconds: twenty take 800 seconds."""
    assert CALLS_MIN * 40 == 800
    assert looked((2000, 10, 1 / 40), (760, 30, 1 / 40), every_s=40)[-1] < 3
    assert looked((2000, 10, 1 / 40), (800, 30, 1 / 40), every_s=40)[-1] == pytest.approx(3)


def test_a_baseline_of_few_calls_is_none():
    assert set(looked((1500, 10, 1 / 100), (450, 30, 1))) == {None}


def test_a_run_that_was_free_so_far_has_no_baseline():
    assert set(looked((1500, 0, 1), (450, 30, 1))) == {None}


def test_it_remembers_the_last_stretch_only():
    burn = BurnRate()
    for at in range(1, 5000):
        burn.look((at * 10_000, at, at * 5))
    assert len(burn._points) < 60
