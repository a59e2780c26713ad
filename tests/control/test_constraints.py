"""Constraints of each run: enforced over all its budgets, merged by the more specific, told where nothing is hard."""

from __future__ import annotations

import pytest

from costscope import BudgetExceeded, RunHalted, budget_scope, metered_model, metered_tool
from costscope.stores.effects import run_async, run_sync

CENT = 10_000_000


@pytest.fixture
def constrained(make_runtime):
    """A runtime under these budgets, and what is heard of denials and degraded decisions."""

    def make(*budgets):
        given = [{"id": f"b{at}"} | budget for at, budget in enumerate(budgets)]
        runtime, heard = make_runtime(policy={"budgets": given}), []
        runtime.events.on("denied", heard.append)
        runtime.events.on("degraded", heard.append)
        return runtime, heard

    return make


def tool_of(runtime, colour, price="0.01"):
    return metered_tool("t", price=price, runtime=runtime)(colour.define(lambda: "made"))


def model_of(runtime, colour):
    return metered_model(
        "m", price="0.01", estimate={"cost": "0.01", "tokens": 10}, runtime=runtime, usage=lambda _: (5, 5)
    )(colour.define(lambda: "made"))


def turn(runtime, scope, colour) -> None:
    one = scope.iteration()
    if colour.name == "sync":
        run_sync(one.begin(), runtime.store)
        run_sync(one.end(), runtime.store)
    else:
        colour.run(lambda: run_async(one.begin(), runtime.store))
        colour.run(lambda: run_async(one.end(), runtime.store))


@pytest.mark.parametrize(
    ("constraints", "allowed"),
    [({"tool_calls": 2}, 2), ({"cost": "0.03"}, 3), ({"tool_calls": 2, "cost": "0.01"}, 1)],
)
def test_calls_of_a_run_are_limited(constraints, allowed, constrained, colour):
    runtime, _ = constrained({"constraints": constraints})
    tool = tool_of(runtime, colour)
    for name in ("r-1", "r-2"):  # each run by itself
        with budget_scope(runtime=runtime, run=name):
            for _ in range(allowed):
                colour.run(tool)
            with pytest.raises(BudgetExceeded, match="the run's own limit"):
                colour.run(tool)
    with budget_scope(runtime=runtime):
        for _ in range(4):  # no run, no constraints
            colour.run(tool)


@pytest.mark.parametrize(("constraints", "allowed"), [({"model_calls": 2}, 2), ({"tokens": 30}, 3)])
def test_model_calls_and_tokens_of_a_run_are_limited(constraints, allowed, constrained, colour):
    runtime, _ = constrained({"constraints": constraints})
    model = model_of(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(allowed):
            colour.run(model)
        with pytest.raises(BudgetExceeded):
            colour.run(model)
        assert colour.run(tool_of(runtime, colour)) == "made"


def test_iterations_of_a_run_are_limited(constrained, colour):
    runtime, _ = constrained({"constraints": {"iterations": 2}})
    with budget_scope(runtime=runtime, run="r-1") as scope:
        turn(runtime, scope, colour)
        turn(runtime, scope, colour)
        with pytest.raises(BudgetExceeded, match="iteration"):
            turn(runtime, scope, colour)


def test_a_run_is_limited_by_its_clock(constrained, colour):
    runtime, _ = constrained({"constraints": {"wall_clock": 0.05}})
    tool = tool_of(runtime, colour)

    def go_on():
        while True:
            colour.run(tool)

    with budget_scope(runtime=runtime, run="r-1"), pytest.raises(RunHalted, match="max_wall_clock"):
        go_on()


def test_the_more_specific_budget_decides_also_upwards(constrained, colour):
    runtime, _ = constrained(
        {"constraints": {"tool_calls": 1, "cost": "0.02"}},
        {"match": {"workflow": "research"}, "constraints": {"tool_calls": 5}},
    )
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime, workflow="research", run="r-1"):
        colour.run(tool)
        colour.run(tool)
        with pytest.raises(BudgetExceeded) as refused:
            colour.run(tool)
    assert (refused.value.meter, refused.value.limit) == ("cost", 2 * CENT)
    with budget_scope(runtime=runtime, workflow="other", run="r-2"):
        colour.run(tool)
        with pytest.raises(BudgetExceeded, match="1 tool call"):
            colour.run(tool)


def test_limits_never_override_one_another(constrained, colour):
    runtime, _ = constrained(
        {"limits": {"tool_calls": 1}}, {"match": {"workflow": "research"}, "limits": {"tool_calls": 5}}
    )
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime, workflow="research", run="r-1"):
        colour.run(tool)
        with pytest.raises(BudgetExceeded) as refused:
            colour.run(tool)
    assert refused.value.budget == "b0"


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_constraints_of_a_budget_that_is_not_hard_are_told_and_loosen_nothing(
    enforcement, constrained, colour
):
    """It is the more specific one; what the hard one says holds all the same."""
    runtime, heard = constrained(
        {"constraints": {"tool_calls": 3}},
        {
            "match": {"workflow": "research"},
            "enforcement": enforcement,
            "constraints": {"tool_calls": 1, "iterations": 0, "cost": "9.00"},
        },
    )
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime, workflow="research", run="r-1") as scope:
        for _ in range(3):
            assert colour.run(tool) == "made"
        turn(runtime, scope, colour)
        with pytest.raises(BudgetExceeded, match="the run's own limit"):
            colour.run(tool)
    told = [(e.what, e.budget, e.meter, e.limit) for e in heard if e.budget == "b1"]
    assert told == [("tool", "b1", "tool_calls", 1)] * 2 + [("iteration", "b1", "iterations", 0)]
    assert [getattr(e, "enforced", None) for e in heard if e.budget == "b1"] == (
        [False] * 3 if enforcement == "shadow" else [None] * 3
    )


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_a_wall_clock_that_is_not_hard_is_told(enforcement, constrained, colour):
    runtime, heard = constrained({"limits": {"wall_clock": 0.001}, "enforcement": enforcement})
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        while not heard:
            assert colour.run(tool) == "made"
        told = heard[0]
        turn(runtime, scope, colour)
    assert (told.what, told.budget, told.meter, told.limit) == ("tool", "b0", "wall_clock", 1)
    assert told.spent >= 1
    assert heard[-1].what == "iteration"
