"""Leaving a run ends it, once, with a status that says how; whatever leaves it."""

from __future__ import annotations

import asyncio
import gc

import pytest
from opened_runs import OpenedRuns
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from until import until

from costscope import BudgetExceeded, RunHalted, Runtime, budget_scope, metered_tool
from costscope.board import ReadEvents
from costscope.engine.run.run_life import close_scope, emit_abandoned
from costscope.events import RunEnded, decode_event
from costscope.ledger import LostHold
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of

CENT = 10_000_000


@pytest.fixture
def policy():
    return {
        "budgets": [
            {"id": "all", "limits": {"cost": "1.00", "runs": 1000}},
            {"id": "places", "limits": {"concurrent_runs": 3}},
        ]
    }


@pytest.fixture
def opened(runtime, colour):
    return OpenedRuns(runtime, colour)


@pytest.fixture
def ends(runtime):
    """Every `RunEnded` that was told."""
    told = []
    runtime.events.on("run_ended", told.append)
    return told


def free(books) -> None:
    """No place is taken any more."""
    assert books.counters("places~slots", "concurrent_runs").held == 0
    books.settle()


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (None, "completed", ""),
        (ValueError("broken"), "failed", "ValueError"),
        (SystemExit(), "completed", "SystemExit"),
        (SystemExit(3), "failed", "SystemExit"),
        (KeyboardInterrupt(), "halted", "KeyboardInterrupt"),
        (asyncio.CancelledError(), "halted", "CancelledError"),
        (GeneratorExit(), "completed", "GeneratorExit"),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else None,
)
def test_the_status_says_what_left_the_run(opened, ends, books, error, status, reason):
    opener, scope = opened.enter(run="r-1")
    opened.leave(opener, error)
    assert (scope.summary().status, state_of(scope).run.reason) == (status, reason)
    assert [(event.status, event.reason) for event in ends] == [(status, reason)]
    free(books)


def test_a_refused_call_that_nobody_catches_fails_the_run(runtime, ends, books):
    with pytest.raises(BudgetExceeded), budget_scope(runtime=runtime, run="r-1", max_cost="0"):
        metered_tool("t", price="0.01", runtime=runtime)(lambda: None)()
    assert [(event.status, event.reason) for event in ends] == [("failed", "BudgetExceeded")]
    free(books)


def test_a_halted_run_stays_halted_whatever_leaves_it(opened, ends, books):
    for number, error in enumerate((None, ValueError(), KeyboardInterrupt())):
        opener, scope = opened.enter(run=f"r-{number}")
        scope.halt("enough")
        opened.leave(opener, error)
    assert [(event.status, event.reason) for event in ends] == [("halted", "enough")] * 3
    free(books)


def test_the_end_says_what_the_run_cost_how_long_it_took_and_its_turns(runtime, ends):
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)

    with budget_scope(runtime=runtime, run="r-1", team="a") as run:
        for turn in run.iterations():
            tool()
            if turn == 3:
                break
    (event,) = ends
    assert (event.run, event.cost, event.iterations) == ("r-1", 3 * CENT, 3)
    assert event.labels == {"run": "r-1", "team": "a"}
    assert 0 < event.seconds < 20


def test_a_run_that_was_left_twice_ends_once(opened, ends):
    opener, scope = opened.enter(run="r-1")
    opened.leave(opener)
    opened.leave(opener, ValueError())
    close_scope(state_of(scope))
    assert [event.status for event in ends] == ["completed"]


def test_start_and_end_stand_on_the_board_for_other_processes(opened, runtime):
    opened.leave(opened.enter(run="r-1")[0], ValueError())
    assert runtime.events.drain(20)
    found = [decode_event(entry.record) for entry in runtime.store.tell([ReadEvents(10)])[0]]
    assert [(type(event).__name__, event.run) for event in found] == [
        ("RunStarted", "r-1"),
        ("RunEnded", "r-1"),
    ]
    assert found[1].status == "failed"


def test_metrics_count_runs_by_status_and_those_that_go_on(make_runtime, colour):
    reader = InMemoryMetricReader()
    opened = OpenedRuns(make_runtime(meter_provider=MeterProvider([reader])), colour)
    for number, error in enumerate((None, None, ValueError())):
        opened.leave(opened.enter(run=f"r-{number}")[0], error)
    opener, scope = opened.enter(run="r-9")
    scope.halt("enough")
    assert counted(reader)["costscope.runs.active", ""] == 1
    opened.leave(opener)
    found = counted(reader)
    assert found["costscope.runs", "completed"] == 2
    assert found["costscope.runs", "failed"] == found["costscope.runs", "halted"] == 1
    assert found["costscope.runs.active", ""] == 0


def counted(reader):
    """Name and status to value, of the counters."""
    data = reader.get_metrics_data()
    return {
        (metric.name, point.attributes.get("status", "")): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if hasattr(point, "value")
    }


# ----------------------------------------------------------------- decorated functions


@pytest.mark.parametrize("fails", [False, True])
def test_every_call_of_a_decorated_function_is_a_run(runtime, colour, ends, books, fails):
    def body() -> None:
        assert state_of(runtime.current_scope()).run.begun
        if fails:
            raise ValueError

    agent = budget_scope(runtime=runtime, run="r-1")(colour.define(body))
    for _ in range(2):
        if fails:
            with pytest.raises(ValueError, match=r"^$"):
                colour.run(agent)
        else:
            colour.run(agent)
    assert [event.status for event in ends] == ["failed" if fails else "completed"] * 2
    free(books)


def numbers(runtime, colour, *, fails=False):
    def body():
        yield 1
        assert state_of(runtime.current_scope()).run.begun
        if fails:
            raise ValueError
        yield 2

    return budget_scope(runtime=runtime, run="r-1")(colour.define(body))


def read(colour, found):
    """All items."""

    async def items():
        return [item async for item in found]

    return colour.run(items) if colour.name == "async" else list(found)


def test_a_decorated_generator_is_a_run_from_its_first_step_to_its_last(runtime, colour, ends, books):
    started = []
    runtime.events.on("run_started", started.append)
    found = numbers(runtime, colour)()
    assert started == []
    assert read(colour, found) == [1, 2]
    assert len(started) == 1
    assert [event.status for event in ends] == ["completed"]
    free(books)


def test_a_decorated_generator_that_raises_has_failed(runtime, colour, ends, books):
    with pytest.raises(ValueError, match=r"^$"):
        read(colour, numbers(runtime, colour, fails=True)())
    assert [(event.status, event.reason) for event in ends] == [("failed", "ValueError")]
    free(books)


def test_a_decorated_generator_whose_reader_has_had_enough_is_complete(runtime, colour, ends, books):
    found = numbers(runtime, colour)()
    if colour.name == "async":
        colour.run(found.__anext__)
        colour.run(found.aclose)
    else:
        next(found)
        found.close()
    assert [event.status for event in ends] == ["completed"]
    free(books)


def test_a_decorated_generator_that_nobody_begins_is_no_run(runtime, colour, ends):
    found = numbers(runtime, colour)()
    del found
    gc.collect()
    assert ends == []


def test_a_decorated_generator_that_is_not_admitted_ends_nothing(make_runtime, colour):
    runtime = make_runtime(policy={"budgets": [{"id": "none", "limits": {"concurrent_runs": 0}}]})
    ends = []
    runtime.events.on("run_ended", ends.append)
    with pytest.raises(BudgetExceeded):
        read(colour, numbers(runtime, colour)())
    gc.collect()
    assert ends == []


# ------------------------------------------------------------------------------ async


def test_a_cancelled_task_leaves_its_run_halted_and_its_place_free(runtime, ends, books):
    async def main() -> None:
        inside = asyncio.Event()

        async def agent() -> None:
            async with budget_scope(runtime=runtime, run="r-1"):
                inside.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(agent())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runtime.store.aclose()

    asyncio.run(main())
    assert [(event.status, event.reason) for event in ends] == [("halted", "CancelledError")]
    free(books)


class Steps:
    """Awaits a coroutine until something is true, and no further."""

    def __init__(self, coroutine, reached) -> None:
        self._coroutine, self._reached = coroutine, reached

    def __await__(self):
        while True:
            waits_for = self._coroutine.send(None)
            if self._reached():
                return
            yield waits_for


def test_a_coroutine_that_is_closed_in_its_run_does_not_wait_for_the_store(runtime, ends, books):
    """As when its loop is gone: to await anything there would be an error."""
    inside = []

    async def agent() -> None:
        async with budget_scope(runtime=runtime, run="r-1") as run, run.iteration():
            inside.append(run)
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        coroutine = agent()
        await Steps(coroutine, lambda: inside)
        coroutine.close()
        await runtime.store.aclose()

    asyncio.run(main())
    assert [event.status for event in ends] == ["completed"]
    free(books)


def test_cancelled_while_it_is_admitted_a_run_holds_nothing(runtime, ends, books):
    async def main() -> None:
        async def agent() -> None:
            async with budget_scope(runtime=runtime, run="r-1"):
                raise AssertionError("it was cancelled")

        task = asyncio.create_task(agent())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, AssertionError)):
            await task
        await runtime.store.aclose()

    asyncio.run(main())
    until(lambda: books.snapshot().holds == ())


# ------------------------------------------------------------- the end of the runtime


def test_a_runtime_that_is_closed_in_a_run_lets_it_end(make_store, policy, store_kind):
    """The place is given back as long as the store takes it."""
    store = make_store()
    runtime = Runtime(store=store, policy=policy)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        runtime.close()
    assert scope.summary().status == "completed"
    assert store.snapshot().holds == ()
    assert store_kind


def test_a_run_whose_runtime_was_closed_stops_when_its_lease_is_over(patient_url, policy):
    """Nobody renews it any more, so its place may be another's."""
    from costscope.stores import open_store

    with Runtime(store=open_store(patient_url), policy=policy, slot_lease_s=60) as runtime:
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
        with budget_scope(runtime=runtime, run="r-1") as scope:
            tool()
            services_of(runtime).lease_renewer.close()
            tool()
            state_of(scope).run.lease.lost_at_s -= 60
            with pytest.raises(RunHalted, match="its slot could not be renewed in time"):
                tool()


def test_ends_are_told_once_to_the_board_even_if_another_process_took_it_for_dead(opened, runtime):
    opener, scope = opened.enter(run="r-1")
    run = state_of(scope).run
    lost = LostHold(run.hold_id, tuple(account.key for account in run.accounts))
    opened.leave(opener)
    for _ in range(2):
        emit_abandoned(services_of(runtime), [lost])
    assert runtime.events.drain(20)
    found = [decode_event(entry.record) for entry in runtime.store.tell([ReadEvents(10)])[0]]
    assert [event.status for event in found if isinstance(event, RunEnded)] == ["completed"]


def test_a_run_that_is_taken_for_dead_twice_is_told_once_to_the_board(opened, runtime):
    opener, scope = opened.enter(run="r-1")
    run = state_of(scope).run
    services_of(runtime).lease_renewer.drop(run.hold_id)  # as if it were another process's
    lost = LostHold(run.hold_id, tuple(account.key for account in run.accounts))
    for _ in range(2):
        emit_abandoned(services_of(runtime), [lost])
    opened.leave(opener)
    assert runtime.events.drain(20)
    found = [decode_event(entry.record) for entry in runtime.store.tell([ReadEvents(10)])[0]]
    assert [event.status for event in found if isinstance(event, RunEnded)] == ["abandoned"]
