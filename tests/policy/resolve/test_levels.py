"""The levels at which a budget does something: exact, and none lost to a rounded float."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.policy import levels_of, refuses
from costscope.policy.load.loader import parse_policy
from costscope.policy.resolve.levels import amount_at, watch_levels
from costscope.policy.resolve.resolved import BudgetResolver


def policy_of(fields, more=""):
    return parse_policy(f"budgets: [{{id: x, {fields}}}]\n{more}")


@given(st.integers(0, 2**53 - 1), st.integers(1, 100_000))
def test_a_level_is_the_least_amount_that_is_that_part_of_the_limit(limit, hundredths):
    """In whole numbers: `level * 100 >= percent * limit`, and no lower one."""
    level = amount_at(limit, hundredths / 100)
    assert level * 10_000 >= hundredths * limit
    assert level == 1 or (level - 1) * 10_000 < hundredths * limit


@pytest.mark.parametrize(
    ("limit", "percent", "level"),
    [
        (100, 80, 80),
        (1000, 29.0, 290),
        (3, 50, 2),
        (10, 0.1, 1),
        (0, 80, 1),
        (10**9, 70, 7 * 10**8),
        (7, 100, 7),
    ],
)
def test_levels(limit, percent, level):
    assert amount_at(limit, percent) == level


def test_each_threshold_marks_each_meter_it_is_about():
    [budget] = policy_of(
        "limits: {cost: 1, tokens: 200, wall_clock: 1h}, thresholds: [90, {at: 50, meter: tokens, actions: log}]"
    ).budgets
    assert [(level.meter, level.amount) for level in levels_of(budget, in_run=False)] == [
        ("tokens", 100),
        ("cost", 900_000_000),
        ("tokens", 180),
    ]


@pytest.mark.parametrize(
    ("fields", "outside", "in_run"),
    [
        ("", True, True),
        (", on_limit: halt_run", True, True),
        (", on_limit: downgrade_then_reject", True, True),
        (", on_limit: reject_new_runs", True, False),
        (", enforcement: soft", False, False),
        (", enforcement: shadow", False, False),
    ],
)
def test_what_a_limit_stops_and_what_it_only_marks(fields, outside, in_run):
    [budget] = policy_of(f"limits: {{tokens: 10}}{fields}").budgets
    assert (refuses(budget, in_run=False), refuses(budget, in_run=True)) == (outside, in_run)
    for where, stops in ((False, outside), (True, in_run)):
        over = [(level.amount, level.threshold) for level in levels_of(budget, in_run=where)]
        assert over == ([] if stops else [(11, None)])


def test_the_ledger_tells_balances_from_the_lowest_level_anybody_wants_to_hear_of():
    policy = policy_of(
        "limits: {cost: 100, tokens: 10}, thresholds: [80, 60]",
        "routing: [{id: r, stages: [{fallback: m, downgrade_on: {remaining_budget_below: 50, utilization_above: 55}}]}]",
    )
    found = dict(watch_levels(policy, policy.budgets[0], in_run=False))
    assert found == {"cost": 50 * 10**9 + 1, "tokens": 6}


def test_a_policy_that_only_refuses_watches_nothing():
    policy = policy_of("limits: {cost: 100}")
    resolver = BudgetResolver(policy)
    resolved = resolver.resolve({"run": "r"}, 0)
    assert not resolver.acts
    assert (resolved.watched, resolved.accounts[0].watch, resolved.halts) == ((), (), False)


@pytest.mark.parametrize(
    "fields", ["thresholds: [50]", "enforcement: soft", "on_limit: halt_run", "on_denied: {wait: 1s}"]
)
def test_a_budget_that_does_more_acts(fields):
    assert BudgetResolver(policy_of(f"limits: {{cost: 1}}, {fields}")).acts
