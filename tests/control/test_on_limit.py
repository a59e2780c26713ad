"""`on_limit`: what a hard limit does beside refusing."""

from __future__ import annotations

import threading

import pytest
from running import Books

from costscope import BudgetExceeded, RunHalted, Wait, budget_scope, metered_model, metered_tool, reserve
from costscope.events import CallRefused, Downgraded, RunEnded
from costscope.scope.runtime import services_of


@pytest.fixture
def limited(make_runtime):
    """A runtime under one budget of 0.10, and what is heard of it."""

    def make(on_limit, **policy):
        budget = {"id": "b", "limits": {"cost": "0.10"}, "on_limit": on_limit} | policy.pop("budget", {})
        runtime, heard = make_runtime(policy={"budgets": [budget]} | policy), []
        for kind in ("denied", "downgrade", "run_ended"):
            runtime.events.on(kind, heard.append)
        return runtime, heard

    return make


def tool_of(runtime, colour, price="0.05", **options):
    return metered_tool("t", price=price, runtime=runtime, **options)(colour.define(lambda: "made"))


def admitted(runtime, colour, **labels) -> None:
    """Enter and leave a run."""

    async def enter():
        async with budget_scope(runtime=runtime, **labels):
            pass

    if colour.name == "async":
        colour.run(enter)
    else:
        with budget_scope(runtime=runtime, **labels):
            pass


def test_reject_refuses_calls_and_nothing_else(limited, colour):
    runtime, _ = limited("reject")
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(2):
            assert colour.run(tool) == "made"
        for _ in range(2):  # the run may go on and ask for something smaller
            with pytest.raises(BudgetExceeded, match="exhausted"):
                colour.run(tool)
        assert colour.run(tool_of(runtime, colour, price=0)) == "made"
    admitted(runtime, colour, run="r-2")


def test_reject_new_runs_refuses_admissions_and_calls_outside_of_runs(limited, colour):
    """In the system this comes from, a budget at 5000 % of its limit still admitted new runs."""
    runtime, heard = limited("reject_new_runs")
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(4):
            assert colour.run(tool) == "made"
    with pytest.raises(BudgetExceeded) as refused:
        admitted(runtime, colour, run="r-2")
    assert (refused.value.kind, refused.value.meter) == ("exhausted", "cost")
    with budget_scope(runtime=runtime), pytest.raises(BudgetExceeded):
        colour.run(tool)
    assert [event.what for event in heard if isinstance(event, CallRefused)] == ["run", "tool"]
    Books(runtime).settle()


def test_halt_run_ends_the_run_that_meets_the_limit_and_no_other(limited, colour):
    """In the system this comes from, what raised to stop a run was swallowed by the loop that called it."""
    runtime, heard = limited("halt_run", budget={"per": ["tenant"]})
    tool = tool_of(runtime, colour)
    free = tool_of(runtime, colour, price=0)
    with budget_scope(runtime=runtime, tenant="a", run="r-1") as scope:
        for _ in range(2):
            colour.run(tool)
        with pytest.raises(BudgetExceeded):
            colour.run(tool)
        for _ in range(2):  # also what would cost nothing
            with pytest.raises(RunHalted, match="budget b has no more cost"):
                colour.run(free)
        with pytest.raises(RunHalted), scope.iteration():
            pytest.fail("it was halted")
    with budget_scope(runtime=runtime, tenant="b", run="r-2"):
        assert colour.run(tool) == "made"
    ended = [(event.run, event.status) for event in heard if isinstance(event, RunEnded)]
    assert ended == [("r-1", "halted"), ("r-2", "completed")]
    with pytest.raises(BudgetExceeded):  # nor is another one admitted there
        admitted(runtime, colour, tenant="a", run="r-3")


def test_halt_run_is_met_by_iterations_too(limited, colour):
    runtime, _ = limited("halt_run", budget={"limits": {"iterations": 1}})
    with budget_scope(runtime=runtime, run="r-1") as scope:
        assert list(scope.iterations()) == [1]
        with pytest.raises(RunHalted):
            colour.run(tool_of(runtime, colour))


def test_a_halted_run_stays_halted_for_those_who_join_it(limited, make_runtime, colour, store_kind):
    if store_kind == "memory":
        pytest.skip("books in memory have no second process")
    runtime, _ = limited("halt_run")
    other = make_runtime(policy=runtime.policy)
    with budget_scope(runtime=runtime, run="r-1"), budget_scope(runtime=other, run="r-1", join_run=True):
        assert colour.run(tool_of(other, colour, price=0)) == "made"
        with pytest.raises(BudgetExceeded):
            colour.run(tool_of(runtime, colour, price="0.20"))
        with pytest.raises(RunHalted):
            colour.run(tool_of(other, colour, price=0))


ROUTES = {
    "routing": [{"id": "r", "models": ["dear"], "stages": [{"fallbacks": ["unknown", "middle", "cheap"]}]}],
    "prices": {
        "models": {
            "dear": {"per_call": "0.20"},
            "middle": {"per_call": "0.06"},
            "cheap": {"per_call": "0.01"},
        }
    },
}


def asker(runtime, colour, **options):
    def ask(model):
        return model

    options = {"usage": lambda _: {"input_tokens": 0, "output_tokens": 0}} | options
    return metered_model(runtime=runtime, **options)(colour.define(ask))


def test_downgrade_then_reject_tries_the_fallbacks_in_their_order_first(limited, colour):
    runtime, heard = limited("downgrade_then_reject", **ROUTES)
    ask = asker(runtime, colour)
    with budget_scope(runtime=runtime):
        used = [colour.run(ask, model="dear") for _ in range(5)]
        with pytest.raises(BudgetExceeded):
            colour.run(ask, model="dear")
    assert used == ["middle", "cheap", "cheap", "cheap", "cheap"]
    moved = [event for event in heard if isinstance(event, Downgraded)]
    assert [(e.asked, e.effective, e.reason) for e in moved[:2]] == [
        ("dear", "middle", "downgrade_then_reject"),
        ("dear", "cheap", "downgrade_then_reject"),
    ]
    assert moved[0].saved == 140_000_000
    Books(runtime).settle()


def test_downgrade_then_reject_refuses_where_there_is_no_fallback(limited, colour):
    runtime, _ = limited("downgrade_then_reject", prices=ROUTES["prices"])
    with budget_scope(runtime=runtime), pytest.raises(BudgetExceeded, match="never_fits"):
        colour.run(asker(runtime, colour), model="dear")


def test_another_budget_that_only_rejects_is_not_downgraded_for(make_runtime, colour):
    """The limit in the way decides, not one that would downgrade."""
    runtime = make_runtime(
        policy={
            "budgets": [
                {"id": "a", "limits": {"model_calls": 0}},
                {"id": "b", "limits": {"cost": "9"}, "on_limit": "downgrade_then_reject"},
            ]
        }
        | ROUTES
    )
    with budget_scope(runtime=runtime), pytest.raises(BudgetExceeded) as refused:
        colour.run(asker(runtime, colour), model="dear")
    assert refused.value.budget == "a"


def test_a_call_that_fell_back_waits_with_the_cheapest(limited, colour):
    runtime, _ = limited("downgrade_then_reject", **ROUTES)
    ask = asker(runtime, colour, on_denied=Wait("20s"))
    holding, release = threading.Event(), threading.Event()

    def hold_all():
        with budget_scope(runtime=runtime), reserve(tool="h", price="0.10", runtime=runtime) as hold:
            holding.set()
            while not services_of(runtime).wait_list and not release.is_set():
                release.wait(0.002)
            hold.release()

    holder = threading.Thread(target=hold_all)
    holder.start()
    try:
        assert holding.wait(20)
        with budget_scope(runtime=runtime):
            assert colour.run(ask, model="dear") == "cheap"
    finally:
        release.set()
        holder.join()
