"""When a delivery is tried: exponential, with jitter, and remembered by the board alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.observe.webhooks.receivers import is_due_attempt, lease_ms, pause_s, verdict

chances = st.floats(0, 1)


def test_it_is_tried_at_the_first_second_fourth_eighth_lease_and_then_every_64th():
    tried = [attempt for attempt in range(1, 300) if is_due_attempt(attempt)]
    assert tried == [1, 2, 4, 8, 16, 32, 64, 128, 192, 256]


@given(chance=chances)
def test_a_lease_is_long_enough_for_two_requests_that_run_out_of_time(chance):
    """Six seconds each and a margin, give or take a fifth: so it backs off with jitter."""
    assert 13_600 <= lease_ms(6.0, lambda: chance) <= 20_400
    assert lease_ms(6.0, lambda: 0.0) < lease_ms(6.0, lambda: 1.0)


@given(failures=st.integers(1, 10**6), chance=chances)
def test_a_receiver_that_fails_is_left_alone_twice_as_long_each_time_and_ten_minutes_at_most(
    failures, chance
):
    pause = pause_s(failures, lambda: chance)
    bound = min(2.0 ** min(failures, 30), 600)
    assert bound / 2 <= pause <= bound


@given(asked=st.floats(0, 10**9), chance=chances)
def test_what_a_receiver_asks_for_is_granted_up_to_an_hour(asked, chance):
    assert min(asked, 3600) <= pause_s(1, lambda: chance, asked) <= max(2, min(asked, 3600))


@pytest.mark.parametrize(
    ("verdicts", "statuses"),
    [
        ("delivered", [200, 201, 202, 204, 299]),
        ("never", [410]),
        ("again", [100, 301, 302, 307, 308, 400, 401, 403, 404, 413, 422, 451]),
        ("away", [None, 408, 425, 429, 500, 502, 503, 504, 599, 999]),
    ],
)
def test_what_an_answer_means(verdicts, statuses):
    assert {status: verdict(status) for status in statuses} == dict.fromkeys(statuses, verdicts)
