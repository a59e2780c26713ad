"""Wall clocks stop a run while it goes on: its next step is refused, and a task that waits is ended."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from costscope import BudgetExceeded, RunHalted, Runtime, bind_scope, budget_scope, metered_tool
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of
from costscope.testing import ManualClock
from costscope_memory import MemoryStore

LATE = r"run r-1 was halted: it may last 60 s \(max_wall_clock\), and these are over"


@pytest.fixture
def clock():
    return ManualClock()


def on_the_clock(clock, policy=None):
    return Runtime(store=MemoryStore(clock=clock), policy=policy, clock=clock)


@pytest.fixture(params=["inline", "constraint"])
def a_minute(request, clock):
    """A run that may last a minute, on a clock that is moved by hand."""
    if request.param == "inline":
        with on_the_clock(clock) as runtime:
            yield runtime, budget_scope(runtime=runtime, run="r-1", max_wall_clock="1m")
        return
    with on_the_clock(clock, {"budgets": [{"id": "runs", "constraints": {"wall_clock": "1m"}}]}) as runtime:
        yield runtime, budget_scope(runtime=runtime, run="r-1")


def tools(runtime, colour):
    def body() -> None:
        pass

    return metered_tool("t", price="0.01", runtime=runtime)(colour.define(body))


def test_the_next_call_and_the_next_turn_come_too_late(a_minute, clock, colour):
    runtime, opener = a_minute
    tool = tools(runtime, colour)
    with opener as run:
        colour.run(tool)
        clock.advance(59.9)
        colour.run(tool)
        with run.iteration():
            clock.advance(0.1)
        with pytest.raises(RunHalted, match=LATE):
            colour.run(tool)
        with pytest.raises(RunHalted, match=LATE):
            run.iteration().__enter__()
    assert run.summary().status == "halted"


def test_the_clock_begins_with_the_admission_and_not_with_the_first_call(a_minute, clock, colour):
    runtime, opener = a_minute
    tool = tools(runtime, colour)
    with opener:
        clock.advance(60)
        with pytest.raises(RunHalted, match=LATE):
            colour.run(tool)


def test_a_run_that_is_opened_again_goes_on_by_the_same_clock(a_minute, clock, colour):
    runtime, opener = a_minute
    tool = tools(runtime, colour)
    with opener:
        colour.run(tool)
        clock.advance(50)
    with opener:
        colour.run(tool)
        clock.advance(10)
        with pytest.raises(RunHalted, match=LATE):
            colour.run(tool)


def test_of_two_clocks_the_earlier_one_ends_the_run(clock, colour):
    policy = {"budgets": [{"id": "runs", "constraints": {"wall_clock": "1m"}}]}
    with on_the_clock(clock, policy) as runtime:
        for longest, lasts in (("30s", 30), ("2m", 60)):
            with budget_scope(runtime=runtime, run=f"r-{lasts}", max_wall_clock=longest):
                clock.advance(lasts - 1)
                colour.run(tools(runtime, colour))
                clock.advance(1)
                with pytest.raises(RunHalted, match=f"it may last {lasts} s"):
                    colour.run(tools(runtime, colour))


ACCOUNT = {"budgets": [{"id": "shift", "per": ["team"], "period": "daily", "limits": {"wall_clock": "1h"}}]}


def test_an_account_stops_an_hour_after_its_first_call_and_begins_anew_in_its_next_window(clock, colour):
    with on_the_clock(clock, ACCOUNT) as runtime:
        tool = tools(runtime, colour)
        with budget_scope(runtime=runtime, team="a"):
            colour.run(tool)
        clock.advance(3600)
        with budget_scope(runtime=runtime, team="b"):
            colour.run(tool)
        with budget_scope(runtime=runtime, team="a", run="r-1") as run:
            with pytest.raises(
                BudgetExceeded, match=r"budget 'shift' allows 3600 s from its first call"
            ) as late:
                colour.run(tool)
            with pytest.raises(BudgetExceeded):
                run.iteration().__enter__()
        clock.set(datetime(2026, 1, 2, tzinfo=UTC))
        with budget_scope(runtime=runtime, team="a"):
            colour.run(tool)
    refused = late.value
    assert (refused.kind, refused.meter, refused.limit) == ("exhausted", "wall_clock", 3_600_000)
    assert refused.resets_at == datetime(2026, 1, 2, tzinfo=UTC)


def test_the_clock_of_an_account_whose_window_ends_before_ends_no_run(clock):
    clock.set(datetime(2026, 1, 1, 23, 30, tzinfo=UTC))
    with on_the_clock(clock, ACCOUNT) as runtime:
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
        with budget_scope(runtime=runtime, team="a", run="r-1") as run:
            tool()
            assert state_of(run).run.ends_ms == 0
            clock.advance(1800)
            tool()
            assert state_of(run).run.ends_ms == (datetime(2026, 1, 2, 1, tzinfo=UTC).timestamp()) * 1000


# --------------------------------------------------------------- in real time, on both stores

SHORT = {
    "inline": (None, {"max_wall_clock": 0.2}, "it may last 0.2 s (max_wall_clock)"),
    "constraint": (
        {"budgets": [{"id": "runs", "constraints": {"wall_clock": 0.2}}]},
        {},
        "it may last 0.2 s (max_wall_clock)",
    ),
    "account": (
        {"budgets": [{"id": "shift", "limits": {"wall_clock": 0.2}}]},
        {},
        "budget shift allows 0.2 s (wall_clock)",
    ),
}


@pytest.fixture(params=sorted(SHORT))
def short(request, make_runtime):
    """A runtime, what a run is opened with, and why it ends."""
    policy, limits, why = SHORT[request.param]
    return make_runtime(policy=policy), {"run": "r-1", **limits}, why


def test_a_task_that_waits_is_ended_and_the_block_raises(short):
    runtime, given, why = short
    ends, cleaned = [], []
    runtime.events.on("run_ended", ends.append)
    tool = metered_tool("t", price="0.01", runtime=runtime)(asyncio.sleep)

    async def agent() -> None:
        async with budget_scope(runtime=runtime, **given):
            await tool(0)
            try:
                await asyncio.sleep(60)
            finally:
                cleaned.append(1)

    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(RunHalted) as halted:
            await agent()
        assert time.monotonic() - began < 30
        assert halted.value.reason.startswith(why)
        assert asyncio.current_task().cancelling() == 0
        await runtime.store.aclose()

    asyncio.run(main())
    assert cleaned == [1]
    assert [(event.status, event.reason.startswith(why)) for event in ends] == [("halted", True)]
    assert runtime.store.snapshot().holds == ()


def test_a_call_that_is_made_meanwhile_is_ended_with_the_task_and_charged(short):
    runtime, given, _ = short

    @metered_tool("slow", price="0.01", runtime=runtime)
    async def slow() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        async with budget_scope(runtime=runtime, max_cost="1", **given) as run:
            scopes.append(run)
            await slow()

    scopes = []
    with pytest.raises(RunHalted):
        asyncio.run(main())
    assert services_of(runtime).outbox.drain(20)
    (own,) = [row for row in scopes[0].refresh() if row.budget == "~scope"]
    assert (own.spent, own.held) == (10_000_000, 0)


def test_a_thread_is_stopped_at_its_next_call(short):
    runtime, given, _ = short
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: time.sleep(0.01))
    made = []

    def work() -> None:
        while True:
            tool()
            made.append(1)

    with budget_scope(runtime=runtime, **given), pytest.raises((RunHalted, BudgetExceeded)):
        bind_scope(work)()
    assert made


def test_a_task_that_ends_in_time_is_left_alone(short):
    runtime, given, _ = short

    async def main() -> None:
        async with budget_scope(runtime=runtime, **given) as run:
            pass
        await asyncio.sleep(0.3)
        assert run.summary().status == "completed"
        await runtime.store.aclose()

    asyncio.run(main())


def test_somebody_elses_cancellation_stays_a_cancellation(make_runtime):
    runtime, runs = make_runtime(policy=None), []

    async def agent() -> None:
        async with (
            asyncio.timeout(None) as soon,
            budget_scope(runtime=runtime, run="r-1", max_wall_clock=30) as run,
        ):
            runs.append(state_of(run).run)
            soon.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(60)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await agent()
        await runtime.store.aclose()

    asyncio.run(main())
    assert [(run.status, run.reason) for run in runs] == [("halted", "CancelledError")]


def test_the_processes_of_a_run_share_its_clock_from_the_admission_on(make_agent):
    """The one that admitted it makes no call at all: it only starts the others."""
    first, other = [make_agent({}) for _ in range(2)]
    assert first.do("open", {"run": "r-1"}, {"max_wall_clock": 8.0}) == "ok"
    admitted_s = time.monotonic()
    assert first.do("published")
    time.sleep(max(admitted_s + 4.0 - time.monotonic(), 0))
    other.tell("wait_async", {"run": "r-1"}, {"join_run": True, "max_wall_clock": 8.0}, 60)
    assert other.hears() == "in"
    said, seconds = other.hears()
    assert said == "halted: it may last 8 s (max_wall_clock), and these are over"
    assert seconds < 7.5, "by its own clock it would have gone on for 8 s, and these are about 4"
    assert first.do("call").startswith("halted: it may last 8 s")
