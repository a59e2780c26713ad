"""What levels put in force together, and how far caps lower a value."""

from __future__ import annotations

import pytest

from costscope.engine.call.preflight import interval_ms
from costscope.engine.control.effects import NOTHING, apply_caps, effects_of
from costscope.policy import levels_of
from costscope.policy.load.loader import load_policy
from costscope.policy.resolve.resolved import Watched


@pytest.mark.parametrize(
    ("value", "caps", "expected"),
    [
        (100, (), 100),
        (None, (), None),
        (100, (50,), 50),
        (100, (500,), 100),
        (None, (50,), 50),
        (100, (0.5,), 50),
        (None, (0.5,), None),
        (100, (0.5, 0.25), 25),
        (100, (0.5, 30, 70), 30),
        (3, (0.1,), 1),
        (3, (0,), 1),
    ],
)
def test_the_strictest_of_amounts_and_factors_holds_and_something_is_always_left(value, caps, expected):
    assert apply_caps(value, caps) == expected


@pytest.mark.parametrize(
    ("expected", "left", "rest_ms", "interval"),
    [(1, 10, 1000, 100), (3, 10, 1000, 300), (1, 3, 1000, 334), (1, 0, 1000, 1000), (50, 10, 1000, 1000)],
)
def test_the_pace_uses_up_what_is_left_when_the_window_ends_and_never_later(
    expected, left, rest_ms, interval
):
    assert interval_ms(expected, left, rest_ms) == interval


def watched(**budget):
    (found,) = load_policy({"budgets": [{"id": "b", "limits": {"cost": "1"}} | budget]}).budgets
    return [Watched(0, 0, found, level) for level in levels_of(found, in_run=False)]


def test_nothing_passed_is_nothing():
    assert effects_of([]) == NOTHING


def test_actions_of_all_marks_are_in_force_together_and_the_lowest_named_model_first():
    found = effects_of(
        watched(
            period="daily",
            thresholds=[
                {
                    "at": 50,
                    "actions": [{"downgrade_model": "a"}, {"limit_capabilities": {"max_tokens": 0.5}}],
                },
                {
                    "at": 80,
                    "actions": [
                        {"downgrade_model": "b"},
                        {"limit_capabilities": {"max_tokens": 100, "iterations": 3}},
                        "throttle",
                        "halt_run",
                        "halt_new_runs",
                    ],
                },
            ],
        )
    )
    assert (found.downgrade, found.model) == (True, "a")
    assert (found.max_tokens, found.iterations) == ((0.5, 100), (3,))
    assert found.halt_run.level.threshold.at == 80
    assert len(found.throttled) == 1


def test_a_shadow_budget_puts_nothing_in_force_and_is_above_its_limit_all_the_same():
    passed = watched(
        enforcement="shadow", thresholds=[{"at": 50, "actions": ["halt_run", "downgrade_model"]}]
    )
    assert effects_of(passed) is NOTHING
    assert [each.level.amount for each in passed if each.level.threshold is None] == [1_000_000_001]
