"""Pauses before another attempt: bounded, doubling, random."""

from statistics import mean

import pytest
from tenacity import RetryCallState, Retrying

from costscope.stores.backoff import Backoff


@pytest.fixture
def failed():
    """A state after so many attempts."""

    def make(attempts):
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = attempts
        return state

    return make


def test_the_bound_of_a_pause_doubles_up_to_the_longest(failed):
    wait = Backoff(0.05, 2.0)
    for attempts, bound in ((1, 0.05), (2, 0.1), (4, 0.4), (7, 2.0), (10**6, 2.0)):
        pauses = [wait(failed(attempts)) for _ in range(200)]
        assert 0 <= min(pauses) < max(pauses) <= bound
        assert mean(pauses) == pytest.approx(bound / 2, rel=0.3)
