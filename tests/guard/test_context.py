"""Where hooks are called makes no difference, but for the scope around the start of a run."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from opened_runs import make_current
from running import Books

from costscope import Guard, InvalidLabel, budget_scope, metered_tool

CENT = 10_000_000
TENANT = {"id": "tenant", "per": ["tenant"], "limits": {"cost": "1"}}


def elsewhere(function, *args, **kwargs):
    """In a thread that has nothing of this context."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result(60)


def test_hooks_of_one_run_come_from_any_thread(guarded):
    hooks = guarded(TENANT)
    assert elsewhere(hooks.on_run_start, "r", tenant="acme").allowed
    decision = elsewhere(hooks.before_tool_call, "r", "search", price="0.02")
    assert elsewhere(hooks.after_tool_call, "r", call_id=decision.call_id).allowed
    assert elsewhere(hooks.on_run_end, "r").cost == Decimal("0.02")
    hooks.books.settle()


def test_both_colours_may_be_used_on_one_run(make_runtime):
    runtime = make_runtime(policy={"budgets": [TENANT]})
    guard = Guard(runtime)

    async def main():
        assert (await guard.aon_run_start("r", tenant="acme")).allowed
        first = guard.before_tool_call("r", "search", price="0.02")
        second = await guard.abefore_tool_call("r", "search", price="0.02")
        await guard.aafter_tool_call("r", call_id=first.call_id)
        guard.after_tool_call("r", call_id=second.call_id)
        summary = await guard.aon_run_end("r")
        await runtime.store.aclose()
        return summary

    assert asyncio.run(main()).cost == Decimal("0.04")
    Books(runtime).settle()


def test_hooks_leave_nothing_in_the_context(guarded):
    """A decorated function after a hook is charged where it stands, not to the guard's run."""
    hooks = guarded(TENANT)
    before = dict(contextvars.copy_context())
    hooks.on_run_start("r", tenant="acme")
    hooks.before_tool_call("r", "search", price="0.02")
    assert dict(contextvars.copy_context()) == before
    assert hooks.runtime.current_scope() is None
    tool = metered_tool("apart", price="0.01", runtime=hooks.runtime)(lambda: None)
    with budget_scope(runtime=hooks.runtime, tenant="other") as other:
        tool()
    assert other.spent == Decimal("0.01")
    assert hooks.on_run_end("r").cost == Decimal("0.02")
    hooks.books.settle()


def test_a_hundred_runs_side_by_side_keep_the_ceiling(guarded):
    """Threads, or tasks of one loop; each run makes three calls of 0.01 under a common limit of 1.00."""
    hooks = guarded({"id": "all", "limits": {"cost": "1"}})
    guard, refused = hooks.guard, []

    def one(number):
        run_id = f"r-{number}"
        guard.on_run_start(run_id)
        for _ in range(3):
            decision = guard.before_tool_call(run_id, "search", price="0.01")
            if decision.allowed:
                guard.after_tool_call(run_id, call_id=decision.call_id)
            else:
                refused.append(decision.kind)
        guard.on_run_end(run_id)

    async def aone(number):
        run_id = f"r-{number}"
        await guard.aon_run_start(run_id)
        for _ in range(3):
            decision = await guard.abefore_tool_call(run_id, "search", price="0.01")
            if decision.allowed:
                await guard.aafter_tool_call(run_id, call_id=decision.call_id)
            else:
                refused.append(decision.kind)
        await guard.aon_run_end(run_id)

    async def main():
        await asyncio.gather(*(aone(number) for number in range(100)))

    if hooks._colour.name == "async":
        hooks._colour.run(main)
    else:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(one, range(100)))
    assert guard.runs() == ()
    spent = hooks.books.spent()
    assert spent + len(refused) * CENT == 300 * CENT
    assert spent <= 100 * CENT
    if set(refused) == {"exhausted"}:
        assert spent == 100 * CENT
    hooks.books.settle()


def test_calls_of_one_run_from_many_threads_are_all_settled(make_runtime):
    runtime = make_runtime(policy={"budgets": [TENANT]})
    guard = Guard(runtime)
    guard.on_run_start("r", tenant="acme")
    barrier = threading.Barrier(8)

    def work():
        barrier.wait(30)
        for _ in range(5):
            decision = guard.before_tool_call("r", "search", price="0.01")
            guard.after_tool_call("r", call_id=decision.call_id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    summary = guard.on_run_end("r")
    assert (summary.unsettled, summary.cost, summary.summary.calls) == (0, Decimal("0.40"), 40)
    Books(runtime).settle()


def test_a_run_that_starts_in_a_scope_is_under_its_limits_too(guarded):
    """The ceiling of a scope holds for everything that is started in it, also when its hooks are called elsewhere."""
    hooks = guarded(TENANT)
    with budget_scope(runtime=hooks.runtime, tenant="acme", team="a", max_cost="0.05") as outer:
        assert hooks.on_run_start("r", user="u").allowed
        assert hooks.guard.scope("r").labels == {"tenant": "acme", "team": "a", "user": "u", "run": "r"}
        assert elsewhere(hooks.before_tool_call, "r", "search", price="0.04").allowed
        refused = elsewhere(hooks.before_tool_call, "r", "search", price="0.04")
        assert (refused.allowed, refused.budget) == (False, "~scope")
        hooks.after_tool_call("r")
        outer.refresh()
        assert outer.spent == Decimal("0.04")
    late = hooks.before_tool_call("r", "search", price="0.04")
    assert (late.allowed, late.kind) == (False, "exhausted"), (
        "the run outlives the scope, and its limit with it"
    )
    hooks.on_run_end("r")
    assert outer.summary().by_tool["search"].calls == 1
    hooks.books.settle()


def test_a_scope_around_another_hook_makes_no_difference(guarded):
    hooks = guarded(TENANT)
    hooks.on_run_start("r", tenant="acme")
    with budget_scope(runtime=hooks.runtime, tenant="other", max_cost="0") as other:
        hooks.before_tool_call("r", "search", price="0.02")
        hooks.after_tool_call("r")
        assert other.spent == 0
    hooks.on_run_end("r")
    assert hooks.books.spent(budget="tenant") == 2 * CENT
    hooks.books.settle()


def test_a_run_inside_another_run_is_a_mistake_unless_it_is_the_same(guarded):
    hooks = guarded({"id": "slots", "limits": {"concurrent_runs": 1}})
    with budget_scope(runtime=hooks.runtime, run="outer"):
        with pytest.raises(InvalidLabel, match="run"):
            hooks.on_run_start("inner")
        assert hooks.on_run_start("outer").allowed, "the same run needs no second place"
        assert hooks.on_run_end("outer", "failed").status == "failed"
        assert not elsewhere(hooks.on_run_start, "another").allowed, "the run goes on, its place is taken"
    assert hooks.on_run_start("another").allowed
    hooks.close()
    hooks.books.settle()


def test_a_call_inside_a_decorated_function_of_the_run_is_charged_once(guarded):
    """A tool that is metered by its decorator, in a framework that calls the hooks as well."""
    hooks = guarded(TENANT)
    seen = []

    @metered_tool("search", price="0.02", runtime=hooks.runtime)
    def search():
        seen.append(hooks.guard.before_tool_call("r", "search", price="0.02"))
        seen.append(hooks.guard.after_tool_call("r"))

    hooks.on_run_start("r", tenant="acme")
    scope = hooks.guard.scope("r")
    make_current(scope)
    try:
        search()
    finally:
        hooks.on_run_end("r")
    assert [(step.allowed, getattr(step, "held", getattr(step, "charged", 0))) for step in seen] == [
        (True, {}),
        (True, {}),
    ]
    assert hooks.books.spent(budget="tenant") == 2 * CENT
    hooks.books.settle()
