"""Budgets at any level of any hierarchy: each stops what is below it, and nothing beside it."""

from __future__ import annotations

import pytest
from tool_calls import caller

from costscope import BudgetExceeded, budget_scope, reserve
from costscope.policy.model.patterns import LEVELS

PATH = {level: f"{level}-1" for level in LEVELS}
"""One scope with a value at every level, from the organization to the run."""

OWN = {"region": "eu", "customer": "c-1", "project": "p-1"}


def each_level(labels, limit):
    return {
        "budgets": [
            {
                "id": level,
                "match": {level: "*"},
                "per": list(labels)[: at + 1],
                "limits": {"tool_calls": limit},
            }
            for at, level in enumerate(labels)
        ]
    }


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_of_the_usual_hierarchy_stops_what_is_below_it(make_runtime, colour, level):
    policy = {"budgets": [{"id": "it", "match": {level: "*"}, "per": [level], "limits": {"tool_calls": 2}}]}
    call = caller(colour, make_runtime(policy=policy))
    below = [label for label in LEVELS if label == "run" or LEVELS.index(label) > LEVELS.index(level)]
    for number in range(2):
        call(**PATH | {label: f"{label}-{number}" for label in below if label != level})
    with pytest.raises(BudgetExceeded) as caught:
        call(**PATH)
    assert (caught.value.budget, caught.value.limit, caught.value.spent) == ("it", 2, 2)
    call(**PATH | {level: "another"})
    call(**{label: value for label, value in PATH.items() if label != level})


@pytest.mark.parametrize("labels", [PATH, OWN], ids=["usual", "own"])
def test_all_levels_at_once_and_the_one_that_is_full_is_named(make_runtime, colour, labels):
    """From the inside to the outside 1, 2, 3 ... calls are allowed, so that one level after the other is full."""
    names, policy = list(labels), each_level(labels, 0)
    for at, budget in enumerate(policy["budgets"]):
        budget["limits"]["tool_calls"] = len(names) - at
    call = caller(colour, make_runtime(policy=policy))
    for at in reversed(range(len(names))):
        call(**labels | {name: f"{name}-of-{at}" for name in names[at + 1 :]})
        with pytest.raises(BudgetExceeded) as caught:
            call(**labels | {name: f"{name}-after-{at}" for name in names[at + 1 :]})
        assert caught.value.budget == names[at]


def test_scopes_nested_from_the_organization_to_the_run_inherit_every_budget(make_runtime):
    runtime = make_runtime(policy=each_level(PATH, 1))
    scopes = [budget_scope(**{label: value}, runtime=runtime) for label, value in PATH.items()]
    for scope in scopes:
        scope.__enter__()
    try:
        with reserve(tool="t", runtime=runtime):
            pass
        with pytest.raises(BudgetExceeded), reserve(tool="t", runtime=runtime):
            pass
    finally:
        for scope in reversed(scopes):
            scope.__exit__(None, None, None)
    used = {one.key.partition("/")[0] for one in runtime.store.snapshot().accounts}
    assert set(LEVELS) <= used


def test_no_budget_overrides_another_the_tightest_of_all_holds(make_runtime, colour):
    policy = {
        "budgets": [
            {"id": "everybody", "limits": {"cost": 10}},
            {"id": "tenants", "match": {"tenant": "*"}, "per": ["tenant"], "limits": {"cost": 4}},
            {"id": "special", "match": {"tenant": "vip"}, "limits": {"cost": 100}},
        ]
    }
    call = caller(colour, make_runtime(policy=policy))
    call("4", tenant="vip")
    with pytest.raises(BudgetExceeded) as caught:
        call("0.01", tenant="vip")
    assert caught.value.budget == "tenants"
    call("4", tenant="b")
    with pytest.raises(BudgetExceeded) as caught:
        call("4", tenant="c")
    assert caught.value.budget == "everybody"
    call("2", tenant="c")


def test_leaving_out_a_label_is_no_way_around_a_budget(make_runtime, colour):
    policy = {"budgets": [{"id": "users", "per": ["user"], "limits": {"tool_calls": 1}}]}
    call = caller(colour, make_runtime(policy=policy))
    call(user="u1")
    call(team="a")
    with pytest.raises(BudgetExceeded):
        call(team="b")
