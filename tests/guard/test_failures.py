"""Stores that are away, and tasks that are cancelled at every await: the books balance, nothing that ran is free."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from running import Books

from costscope import Guard, Runtime, StoreUnavailable
from costscope.testing import OutageStore
from costscope_memory import MemoryStore

CENT = 10_000_000
POLICY = {
    "budgets": [
        {"id": "all", "limits": {"cost": "1", "tool_calls": 9, "concurrent_runs": 3, "runs": 9}},
        {"id": "each", "limits": {"iterations": 9}, "constraints": {"iterations": 9}},
    ]
}


@pytest.fixture
def outage(guarded, make_store):
    """Hooks on a store that can be taken away; its outbox tries again at once."""
    store = OutageStore(make_store())
    hooks = guarded(*POLICY["budgets"], options={"store": store})
    return hooks, store


def test_without_a_store_everything_is_refused_and_nothing_raises(outage):
    hooks, store = outage
    hooks.on_run_start("r")
    with store.away():
        refusals = [
            hooks.on_run_start("other"),
            hooks.before_iteration("r"),
            hooks.before_model_call("r", "big", estimate="0.01"),
            hooks.before_tool_call("r", "search", price="0.01"),
        ]
    assert [(one.allowed, one.kind) for one in refusals] == [(False, "unavailable")] * 4
    with pytest.raises(StoreUnavailable):
        refusals[-1].raise_if_denied()
    assert hooks.guard.runs() == ("r",)
    assert hooks.before_tool_call("r", "search", price="0.01").allowed, (
        "and it goes on when the store is back"
    )
    hooks.on_run_end("r")
    assert hooks.books.spent() == CENT
    hooks.books.settle()


@pytest.mark.parametrize(
    ("store_kind", "applies"),
    [("memory", False), ("valkey", False), ("valkey", True)],
    ids=["memory", "valkey, never arrived", "valkey, answer lost"],
)
def test_what_is_settled_while_the_store_is_away_is_settled_later(outage, applies):
    hooks, store = outage
    hooks.on_run_start("r")
    hooks.before_iteration("r")
    model = hooks.before_model_call("r", "big", estimate="0.05")
    hooks.before_tool_call("r", "search", price="0.02")
    hooks.before_tool_call("r", "left open", price="0.03")
    with store.away(applies=applies):
        assert hooks.after_model_call("r", (10, 5), call_id=model.call_id).charged["cost"] == 200_000
        assert hooks.after_iteration("r").allowed
        summary = hooks.on_run_end("r")
    assert (summary.status, summary.unsettled) == ("completed", 2)
    assert hooks.books.spent() == 200_000 + 5 * CENT
    assert hooks.guard.runs() == ()
    hooks.books.settle()


def test_a_budget_that_fails_open_lets_through(guarded, make_store):
    store = OutageStore(make_store())
    hooks = guarded({"id": "all", "on_outage": "open", "limits": {"cost": "1"}}, options={"store": store})
    hooks.on_run_start("r")
    with store.away():
        assert hooks.before_tool_call("r", "search", price="0.02").allowed
    hooks.after_tool_call("r")
    hooks.on_run_end("r")
    assert hooks.books.spent() == 2 * CENT, "an orphan counts"
    assert hooks.books.snapshot().holds == ()


class SuspendingStore(MemoryStore):
    """The memory ledger behind a wire: a caller may be stopped before its commands are applied, and after."""

    waits = True
    keep_ms = 300_000

    async def aexecute(self, commands):
        await asyncio.sleep(0)
        replies = self.execute(commands)
        await asyncio.sleep(0)
        return replies

    async def atell(self, ops):
        await asyncio.sleep(0)
        answers = self.tell(ops)
        await asyncio.sleep(0)
        return answers


async def lifecycle(guard, bill):
    """A run that leaves one call open."""
    await guard.aon_run_start("r")
    await guard.abefore_iteration("r")
    for number in range(2):
        decision = await guard.abefore_tool_call("r", "search", price="0.01")
        bill.append(number)
        await guard.aafter_tool_call("r", call_id=decision.call_id)
    await guard.abefore_model_call("r", "big", estimate="0.01", price="0.01")
    bill.append("model")
    await guard.aafter_iteration("r")
    await guard.aon_run_end("r")


def test_a_task_that_is_cancelled_at_any_await_leaves_books_that_balance():
    async def cancelled_after(ticks, runtime):
        guard, bill = Guard(runtime), []
        task = asyncio.create_task(lifecycle(guard, bill))
        for _ in range(ticks):
            await asyncio.sleep(0)
        finished = task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await guard.aclose()
        assert guard.runs() == ()
        return finished, bill

    for ticks in range(200):
        with Runtime(store=SuspendingStore(), policy=POLICY) as runtime:
            finished, bill = asyncio.run(cancelled_after(ticks, runtime))
            books = Books(runtime)
            books.settle()
            costs = [a.meters["cost"].spent for a in books.snapshot().accounts if "cost" in a.meters]
            assert sum(costs) == len(bill) * CENT, ticks
        if finished:
            assert len(bill) == 3
            return
    pytest.fail("the run never ends")
