"""`enforcement: hard | soft | shadow`: what each refuses, lets through, and says about it."""

from __future__ import annotations

import asyncio

import pytest
from opened_runs import OpenedRuns, make_current
from running import Books

from costscope import BudgetExceeded, budget_scope, metered_tool, reserve
from costscope.events import CallDegraded, CallRefused, CallSettled
from costscope.stores.effects import run_async, run_sync

CENT = 10_000_000


class Heard(list):
    """Every record of a runtime of the kinds that are listened to."""

    def __init__(self, runtime, *kinds) -> None:
        super().__init__()
        for kind in kinds:
            runtime.events.on(kind, self.append)

    def of(self, record):
        return [event for event in self if isinstance(event, record)]


@pytest.fixture
def budgeted(make_runtime):
    """A runtime under one budget, and what is heard of it."""

    def make(*budgets, **policy):
        given = [{"id": f"b{at}"} | budget for at, budget in enumerate(budgets)]
        runtime = make_runtime(policy={"budgets": given} | policy)
        return runtime, Heard(runtime, "denied", "degraded", "settled")

    return make


def cent(runtime, colour, price="0.01", **options):
    return metered_tool("t", price=price, runtime=runtime, **options)(colour.define(lambda: "made"))


def test_a_soft_budget_lets_through_and_marks_the_decision_degraded(budgeted, colour):
    runtime, heard = budgeted({"limits": {"cost": "0.02"}, "enforcement": "soft"})
    tool = cent(runtime, colour)
    with budget_scope(runtime=runtime, tenant="acme"):
        for _ in range(4):
            assert colour.run(tool) == "made"
    settled = heard.of(CallSettled)
    assert [event.degraded for event in settled] == [False, False, True, True]
    told = heard.of(CallDegraded)
    assert [(e.what, e.name, e.budget, e.meter, e.limit) for e in told] == [
        ("tool", "t", "b0", "cost", 2 * CENT)
    ] * 2
    assert [(e.spent, e.held) for e in told] == [(2 * CENT, CENT), (3 * CENT, CENT)]
    assert told[0].labels == {"tenant": "acme"}
    assert not heard.of(CallRefused)
    Books(runtime).settle()
    assert Books(runtime).spent(budget="b0") == 4 * CENT


def test_a_block_says_which_budgets_let_it_through(budgeted):
    runtime, _ = budgeted(
        {"limits": {"cost": "0.01"}, "enforcement": "soft"},
        {"limits": {"cost": "0.01"}, "enforcement": "shadow"},
        {"limits": {"tool_calls": 5}, "enforcement": "soft"},
    )

    async def degraded_of_next():
        async with reserve(tool="t", price="0.01", runtime=runtime) as hold:
            return hold.degraded

    with budget_scope(runtime=runtime):
        with reserve(tool="t", price="0.01", runtime=runtime) as hold:
            assert hold.degraded == ()
        with reserve(tool="t", price="0.01", runtime=runtime) as hold:
            assert hold.degraded == ("b0",)
        assert asyncio.run(degraded_of_next()) == ("b0",)


def test_a_preview_says_which_budgets_would_let_it_through(budgeted):
    runtime, _ = budgeted({"limits": {"cost": "0.01"}, "enforcement": "soft"}, {"limits": {"cost": "0.03"}})
    with budget_scope(runtime=runtime) as scope:
        assert scope.preview(tool="t", price="0.01").degraded == ()
        ahead = scope.preview(tool="t", price="0.02")
        assert (ahead.allowed, ahead.degraded, ahead.fits) == (True, ("b0",), 1)
        assert asyncio.run(scope.apreview(tool="t", price="0.02")).degraded == ("b0",)
        assert scope.preview(tool="t", price="0.04").kind == "never_fits"
        rows = {row.budget: row for row in scope.balances()}
        assert (rows["b0"].limit, rows["b0"].enforced) == (CENT, False)
        assert (rows["b1"].limit, rows["b1"].enforced) == (3 * CENT, True)


def test_a_shadow_budget_records_what_it_would_have_refused_and_changes_nothing(budgeted, colour):
    runtime, heard = budgeted({"limits": {"cost": "0.02"}, "enforcement": "shadow"})
    tool = cent(runtime, colour)
    with budget_scope(runtime=runtime):
        for _ in range(3):
            assert colour.run(tool) == "made"
    (told,) = heard.of(CallRefused)
    assert (told.enforced, told.kind, told.what, told.name) == (False, "exhausted", "tool", "t")
    assert (told.budget, told.meter, told.limit) == ("b0", "cost", 2 * CENT)
    assert (told.spent, told.held, told.requested) == (2 * CENT, 0, CENT)
    assert not heard.of(CallDegraded)
    assert not any(event.degraded for event in heard.of(CallSettled))


def test_a_shadow_budget_tells_the_kinds_a_hard_one_would(budgeted, colour):
    runtime, heard = budgeted({"limits": {"cost": "0.02"}, "enforcement": "shadow"})
    big, tool = cent(runtime, colour, "0.05"), cent(runtime, colour)
    with budget_scope(runtime=runtime):
        with reserve(tool="h", price="0.02", runtime=runtime) as hold:
            assert colour.run(tool) == "made"
            hold.release()
        assert colour.run(big) == "made"
    assert [(e.kind, e.spent, e.held, e.requested) for e in heard.of(CallRefused)] == [
        ("in_flight", 0, 2 * CENT, CENT),
        ("never_fits", CENT, 0, 5 * CENT),
    ]


def test_several_budgets_each_say_what_they_think_and_the_hard_one_decides(budgeted, colour):
    runtime, heard = budgeted(
        {"limits": {"cost": "0.04"}},
        {"limits": {"cost": "0.01"}, "enforcement": "soft"},
        {"limits": {"cost": "0.02"}, "enforcement": "soft"},
        {"limits": {"cost": "0.03"}, "enforcement": "shadow"},
    )
    tool = cent(runtime, colour)
    with budget_scope(runtime=runtime):
        for _ in range(4):
            colour.run(tool)
        with pytest.raises(BudgetExceeded, match="b0"):
            colour.run(tool)
    assert [event.budget for event in heard.of(CallDegraded)] == ["b1", "b1", "b2", "b1", "b2"]
    refused = [(event.budget, event.enforced) for event in heard.of(CallRefused)]
    assert refused == [("b3", False), ("b0", True)]
    assert [event.degraded for event in heard.of(CallSettled)] == [False, True, True, True]


def test_only_calls_that_use_a_meter_are_degraded_by_it(budgeted, colour):
    runtime, heard = budgeted({"limits": {"cost": "0.01", "model_calls": 0}, "enforcement": "soft"})
    tool = cent(runtime, colour)
    with budget_scope(runtime=runtime):
        with reserve(model="m", price="0.00", estimate="0", runtime=runtime) as hold:
            assert hold.degraded == ("b0",)
        colour.run(tool)
    assert [event.what for event in heard.of(CallDegraded)] == ["model"]
    assert [event.degraded for event in heard.of(CallSettled)] == [True, False]


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_slots_of_calls_above_the_limit_are_told(enforcement, budgeted, colour):
    runtime, heard = budgeted({"limits": {"concurrent_calls": 1}, "enforcement": enforcement})
    tool = cent(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(tool)
        with reserve(tool="h", price="0.01", runtime=runtime) as hold:
            assert colour.run(tool) == "made"
            hold.release()
        colour.run(tool)
    if enforcement == "soft":
        (told,) = heard.of(CallDegraded)
        assert (told.what, told.meter, told.limit, told.held) == ("tool", "concurrent_calls", 1, 2)
        assert sum(event.degraded for event in heard.of(CallSettled)) == 1
    else:
        (told,) = heard.of(CallRefused)
        assert (told.enforced, told.kind, told.held, told.requested) == (False, "in_flight", 1, 1)


class Runs:
    """Scopes that are runs, entered by either colour."""

    def __init__(self, runtime, colour) -> None:
        self.runtime, self.colour = runtime, colour
        self._opened, self._openers = OpenedRuns(runtime, colour), {}

    def enter(self, name, **labels):
        opener, scope = self._opened.enter(run=name, **labels)
        self._openers[scope] = opener
        return scope

    def leave(self, scope) -> None:
        self._opened.leave(self._openers.pop(scope))

    def turn(self, scope) -> None:
        turn = scope.iteration()
        if self.colour.name == "sync":
            run_sync(turn.begin(), self.runtime.store)
            run_sync(turn.end(), self.runtime.store)
        else:
            self.colour.run(lambda: run_async(turn.begin(), self.runtime.store))
            self.colour.run(lambda: run_async(turn.end(), self.runtime.store))


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_runs_above_the_limit_are_admitted_and_told(enforcement, budgeted, colour):
    runtime, heard = budgeted({"limits": {"runs": 1}, "enforcement": enforcement})
    runs = Runs(runtime, colour)
    for name in ("r-1", "r-2"):
        runs.leave(runs.enter(name))
    told = heard.of(CallDegraded if enforcement == "soft" else CallRefused)
    assert [(e.what, e.name, e.meter, e.limit) for e in told] == [("run", "r-2", "runs", 1)]
    if enforcement == "shadow":
        assert (told[0].enforced, told[0].kind, told[0].spent, told[0].requested) == (
            False,
            "exhausted",
            1,
            1,
        )
    Books(runtime).settle()


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_slots_of_runs_above_the_limit_are_told(enforcement, budgeted, colour):
    runtime, heard = budgeted({"limits": {"concurrent_runs": 1}, "enforcement": enforcement})
    runs = Runs(runtime, colour)
    scopes = [runs.enter(name) for name in ("r-1", "r-2")]
    for scope in scopes:
        runs.leave(scope)
    runs.leave(runs.enter("r-3"))
    told = heard.of(CallDegraded if enforcement == "soft" else CallRefused)
    assert [(e.what, e.name, e.meter, e.limit) for e in told] == [("run", "r-2", "concurrent_runs", 1)]
    if enforcement == "shadow":
        assert (told[0].kind, told[0].held) == ("in_flight", 1)


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_iterations_above_the_limit_are_made_and_told(enforcement, budgeted, colour):
    runtime, heard = budgeted({"limits": {"iterations": 2}, "enforcement": enforcement})
    runs = Runs(runtime, colour)
    scope = runs.enter("r-1")
    for _ in range(3):
        runs.turn(scope)
    runs.leave(scope)
    told = heard.of(CallDegraded if enforcement == "soft" else CallRefused)
    assert [(e.what, e.name, e.meter, e.limit, e.spent) for e in told] == [
        ("iteration", "r-1", "iterations", 2, 2)
    ]


@pytest.mark.parametrize(
    "budget",
    [
        {"limits": {"cost": "0.01"}, "on_limit": "reject_new_runs"},
        {"limits": {"cost": "0.01"}, "on_limit": "halt_run"},
        {"limits": {"cost": "0.02"}, "thresholds": [{"at": 50, "actions": ["halt_new_runs"]}]},
    ],
)
def test_a_shadow_budget_admits_the_runs_it_would_forbid_and_says_so(budget, budgeted, colour):
    runtime, heard = budgeted(budget | {"enforcement": "shadow"})
    runs = Runs(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(cent(runtime, colour))
    runs.leave(runs.enter("r-1"))
    (told,) = [event for event in heard.of(CallRefused) if event.what == "run"]
    assert (told.name, told.enforced, told.meter, told.spent, told.requested) == (
        "r-1",
        False,
        "cost",
        CENT,
        0,
    )


def test_a_soft_budget_admits_the_runs_that_its_limit_would_forbid_and_says_so(budgeted, colour):
    runtime, heard = budgeted(
        {"limits": {"cost": "0.01"}, "on_limit": "reject_new_runs", "enforcement": "soft"}
    )
    runs = Runs(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(cent(runtime, colour))
    runs.leave(runs.enter("r-1"))
    assert [(e.what, e.name, e.budget) for e in heard.of(CallDegraded)] == [("run", "r-1", "b0")]


def test_calls_of_a_run_go_on_above_a_limit_that_only_rejects_new_runs(budgeted, colour):
    runtime, heard = budgeted({"limits": {"cost": "0.01"}, "on_limit": "reject_new_runs"})
    tool, runs = cent(runtime, colour), Runs(runtime, colour)
    scope = runs.enter("r-1")
    make_current(scope)
    for _ in range(2):
        assert colour.run(tool) == "made"
    runs.leave(scope)
    assert [(e.what, e.budget) for e in heard.of(CallDegraded)] == [("tool", "b0")]
    with budget_scope(runtime=runtime), pytest.raises(BudgetExceeded):
        colour.run(tool)
    with pytest.raises(BudgetExceeded, match="admits no new runs"):
        runs.enter("r-2")


def test_thresholds_of_a_shadow_budget_are_told_and_do_nothing(budgeted, colour):
    actions = ["log", "callback", "halt_run", "halt_new_runs", "throttle"]
    runtime, heard = budgeted(
        {
            "limits": {"cost": "0.02"},
            "period": "yearly",
            "enforcement": "shadow",
            "thresholds": [{"at": 50, "actions": actions}],
        }
    )
    crossed = Heard(runtime, "threshold")
    runs, tool = Runs(runtime, colour), cent(runtime, colour)
    for name in ("r-1", "r-2"):
        scope = runs.enter(name)
        make_current(scope)
        for _ in range(2):
            assert colour.run(tool) == "made"
        runs.leave(scope)
    assert [event.threshold for event in crossed] == [50.0]
    assert {event.enforced for event in heard.of(CallRefused)} == {False}
