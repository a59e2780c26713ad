"""Throttled budgets: calls wait for their turn, or are refused if it comes too late."""

from __future__ import annotations

import asyncio
import time

import pytest
from paced import Paced

from costscope import BudgetExceeded, Return, Runtime, budget_scope, metered_tool
from costscope.board import Forget, Pace

HOUR_MS = 3_600_000


class Clock:
    """A clock that stands still unless it is moved: half an hour is left of the window."""

    def __init__(self) -> None:
        self.ns = (1_800_000_000 + 1800) * 10**9

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttled(clock):
    """A runtime under an hourly budget of 100 calls that is throttled from the first one on, and what it asks for."""
    runtimes = []

    def make(max_wait=10, **budget):
        described = {
            "id": "b",
            "period": "hourly",
            "limits": {"tool_calls": 100},
            "thresholds": [{"at": 1, "actions": [{"throttle": max_wait}]}],
        } | budget
        store = Paced(clock=clock)
        runtimes.append(Runtime(store=store, policy={"budgets": [described]}, clock=clock))
        return runtimes[-1], store.paces

    yield make
    for runtime in runtimes:
        runtime.close()


def tool_of(runtime, colour, **options):
    return metered_tool("t", price=0, runtime=runtime, **options)(colour.define(lambda: "made"))


def test_the_pace_is_what_the_rest_of_the_window_can_carry(throttled, clock, colour):
    runtime, paces = throttled()
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(tool)
        assert paces == []
        for _ in range(3):
            clock.ns += 20 * 10**9
            assert colour.run(tool) == "made"
    # 99 calls are left for the 1780 s after the first one, 98 for 1760 s, 97 for 1740 s
    assert [pace.interval_ms for pace in paces] == [17_980, 17_960, 17_939]
    assert {pace.patience_ms for pace in paces} == {10_000}


def test_a_call_waits_for_its_turn(throttled, colour):
    """The line moves by the store's clock, which stands; the caller pauses by its own."""
    runtime, paces = throttled()
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(tool)
        colour.run(tool)
        runtime.store.tell(
            [Forget(paces[-1].group), Pace(paces[-1].group, 60, 0)]
        )  # the next place is 60 ms on
        began = time.monotonic()
        assert colour.run(tool) == "made"
        assert time.monotonic() - began >= 0.06


def test_a_turn_that_comes_too_late_is_refused(throttled, colour):
    runtime, _ = throttled(max_wait=10)
    tool = tool_of(runtime, colour)
    with budget_scope(runtime=runtime):
        colour.run(tool)
        colour.run(tool)
        with pytest.raises(BudgetExceeded, match="throttled") as refused:
            colour.run(tool)
        assert colour.run(tool_of(runtime, colour, on_denied=Return("instead"))) == "instead"
    error = refused.value
    assert (error.kind, error.budget, error.meter, error.limit, error.spent) == (
        "throttled",
        "b",
        "tool_calls",
        100,
        2,
    )
    assert 17 < error.retry_after < 19
    assert error.resets_at is not None


def test_several_meters_and_thresholds_of_a_budget_are_one_line_at_the_slowest_pace(throttled, clock, colour):
    runtime, paces = throttled(
        limits={"tool_calls": 100, "cost": "1.00"},
        thresholds=[
            {"at": 1, "actions": [{"throttle": "40s"}]},
            {"at": 1.5, "meter": "cost", "actions": [{"throttle": "20s"}]},
        ],
    )
    tool = metered_tool("t", price="0.02", runtime=runtime)(colour.define(lambda: "made"))
    with budget_scope(runtime=runtime):
        colour.run(tool)
        clock.ns += 10**9
        colour.run(tool)
    (pace,) = paces
    assert pace.interval_ms == 36_715  # 0.98 is left, 0.02 a call, for 1799 s
    assert pace.patience_ms == 20_000


def test_nobody_waits_beyond_the_end_of_the_window(throttled, clock, colour):
    runtime, paces = throttled(max_wait=100)
    tool = tool_of(runtime, colour)
    clock.ns += 1799 * 10**9 + 900_000_000  # 0.1 s is left
    with budget_scope(runtime=runtime):
        colour.run(tool)
        colour.run(tool)
        runtime.store.tell([Pace(paces[-1].group, 50_000, 100_000)])
        began = time.monotonic()
        colour.run(tool)
        assert time.monotonic() - began < 20


def test_calls_that_use_nothing_of_the_meter_are_not_paced(throttled, colour):
    runtime, paces = throttled(limits={"model_calls": 100}, thresholds=[{"at": 1, "actions": ["throttle"]}])
    with budget_scope(runtime=runtime):
        for _ in range(3):
            colour.run(tool_of(runtime, colour))
    assert paces == []


def test_a_paced_task_can_be_cancelled(throttled):
    runtime, _ = throttled(max_wait=100)

    @metered_tool("t", price=0, runtime=runtime)
    async def tool():
        return "made"

    async def main():
        with budget_scope(runtime=runtime):
            await tool()
            await tool()
            task = asyncio.create_task(tool())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    (account,) = [a for a in runtime.store.snapshot().accounts if a.key.startswith("b/")]
    assert (account.meters["tool_calls"].spent, account.meters["tool_calls"].held) == (2, 0)
