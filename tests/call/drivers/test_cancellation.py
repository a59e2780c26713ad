"""Cancellation at every await: the books balance, nothing stays held, and nothing that ran is free."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest
from running import Books

import costscope
from costscope import Runtime, budget_scope, metered_model, metered_tool
from costscope_memory import MemoryStore

PRICE = 10_000_000


class SuspendingStore(MemoryStore):
    """The memory ledger behind a wire: a caller may be stopped before its commands are applied, and after."""

    waits = True
    keep_ms = 300_000

    async def aexecute(self, commands):
        await asyncio.sleep(0)  # on the way there: stopped here, nothing was applied
        replies = self.execute(commands)
        await asyncio.sleep(0)  # on the way back: stopped here, the answer is lost
        return replies


class Bill:
    """What the function's provider was asked for and has charged."""

    def __init__(self) -> None:
        self.calls = 0

    async def ask(self, waits: int = 2) -> str:
        for _ in range(waits):
            await asyncio.sleep(0)
        self.calls += 1
        await asyncio.sleep(0)
        return "answer"


@pytest.fixture
def suspending():
    with Runtime(
        store=SuspendingStore(), policy={"budgets": [{"id": "all", "limits": {"cost": "1000"}}]}
    ) as runtime:
        yield runtime


def actions(runtime, bill):
    """Each kind of metered call, as a coroutine function."""
    tool = metered_tool("t", price="0.01", runtime=runtime)
    model = metered_model("m", price="0.01", runtime=runtime)

    @tool
    async def plain():
        return await bill.ask()

    @model
    async def ask(text, max_tokens=10):
        return await bill.ask()

    @tool
    async def failing():
        await asyncio.sleep(0)
        raise costscope.NotBilled

    @model
    async def generate(text, max_tokens=10):
        await bill.ask()
        yield 1
        await asyncio.sleep(0)
        yield 2

    class Stream:
        def __init__(self):
            self.left = 2

        def __aiter__(self):
            return self

        async def __anext__(self):
            await asyncio.sleep(0)
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return {"choices": []}

        async def close(self):
            await asyncio.sleep(0)

    @model
    async def stream(text, max_tokens=10):
        await bill.ask()
        return Stream()

    async def run_failing():
        with contextlib.suppress(costscope.NotBilled):
            await failing()

    async def run_generator():
        async with contextlib.aclosing(generate("hi")) as items:
            async for _ in items:
                await asyncio.sleep(0)

    async def run_stream():
        async for _ in await stream("hi"):
            await asyncio.sleep(0)

    async def run_stream_early():
        async for _ in (items := await stream("hi")):
            break
        await items.close()

    async def run_reservation():
        async with costscope.reserve(tool="t", price="0.01", runtime=runtime) as hold:
            await bill.ask()
            hold.commit()

    async def run_nested():
        async with budget_scope(runtime=runtime, agent="a", max_cost="5"):
            await asyncio.gather(plain(), ask("hi"))

    return {
        "plain": plain,
        "model": lambda: ask("hi"),
        "failing": run_failing,
        "generator": run_generator,
        "stream": run_stream,
        "stream left early": run_stream_early,
        "reservation": run_reservation,
        "nested": run_nested,
    }


KINDS = ["plain", "model", "failing", "generator", "stream", "stream left early", "reservation", "nested"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice in a row"])
def test_cancelled_at_each_await(kind, times, suspending):
    """The k-th step of the loop, for every k until the call runs through; then once more while it cleans up."""
    bill, books = Bill(), Books(suspending)
    action = actions(suspending, bill)[kind]

    async def cancelled_after(steps: int) -> bool:
        task = asyncio.ensure_future(action())
        for _ in range(steps):
            await asyncio.sleep(0)
        done = task.done()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return done

    async def every_step():
        steps = 0
        with budget_scope(runtime=suspending):
            while not await cancelled_after(steps):
                steps += 1
                gc.collect(0)
                await asyncio.to_thread(books.settle)
        return steps

    assert asyncio.run(every_step()) >= 4
    gc.collect(0)
    books.settle()
    assert books.spent() >= bill.calls * PRICE


@pytest.mark.parametrize("kind", KINDS)
def test_thrown_out_at_each_await(kind, suspending):
    """A coroutine that is closed, not cancelled (its loop is gone): it may not await any more, and does not."""
    bill, books = Bill(), Books(suspending)
    action = actions(suspending, bill)[kind]
    if kind == "nested":
        pytest.skip("gather needs a running loop")
    with budget_scope(runtime=suspending):
        for steps in range(100):
            coroutine = action()
            try:
                for _ in range(steps):
                    coroutine.send(None)
            except StopIteration:
                break
            try:
                coroutine.close()
            except RuntimeError as error:  # of CPython < 3.13, which closes no generator that awaits
                assert kind == "generator"
                assert "already running" in str(error)  # noqa: PT017
            del coroutine
            gc.collect(0)
            books.settle()
    assert 4 <= steps < 100
    books.settle()
    assert books.spent() >= bill.calls * PRICE


def test_hundreds_of_tasks_on_the_real_server_cancelled_at_any_moment(patient_url):
    from running import open_url

    store = open_url(patient_url)
    with Runtime(store=store, policy={"budgets": [{"id": "all", "limits": {"cost": "1000"}}]}) as runtime:
        bill, books = Bill(), Books(runtime)
        kinds = actions(runtime, bill)

        async def storm():
            with budget_scope(runtime=runtime, max_cost="900"):
                for kind in KINDS:
                    tasks = []
                    for number in range(60):
                        tasks.append(asyncio.ensure_future(kinds[kind]()))
                        for _ in range(number % 7):
                            await asyncio.sleep(0)
                        tasks[(number * 37) % len(tasks)].cancel()
                    await asyncio.sleep(0.002)
                    for task in tasks[::3]:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
            await store.aclose()

        asyncio.run(storm())
        gc.collect(0)
        books.settle()
        assert books.spent() >= bill.calls * PRICE
    store.close()


def test_a_loop_that_ends_with_calls_and_streams_open(make_runtime):
    """asyncio.run cancels what is left, and closes the generators that nobody closed."""
    runtime = make_runtime()
    bill, books = Bill(), Books(runtime)
    kinds = actions(runtime, bill)

    @metered_model("m", price="0.01", runtime=runtime)
    async def generate(text, max_tokens=10):
        bill.calls += 1
        yield 1
        yield 2

    async def main():
        background = [asyncio.ensure_future(kinds[kind]()) for kind in KINDS]
        open_ended = generate("hi")
        assert await anext(open_ended) == 1
        await asyncio.sleep(0)
        return background, open_ended

    with budget_scope(runtime=runtime):
        left = asyncio.run(main())
    assert all(task.done() for task in left[0])
    del left
    gc.collect(0)
    books.settle()
    assert books.spent() >= bill.calls * PRICE


def test_a_time_out_charges_the_hold(make_runtime):
    """The provider may have worked on the request for all that time."""
    runtime = make_runtime()
    books = Books(runtime)

    @metered_tool("t", price="0.01", runtime=runtime)
    async def slow(limit):
        limit.reschedule(asyncio.get_running_loop().time() + 0.01)
        await asyncio.Event().wait()

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                await slow(limit)

    with budget_scope(runtime=runtime):
        asyncio.run(main())
    assert books.spent() == PRICE
    books.settle()


def test_a_task_group_that_fails_settles_its_siblings(make_runtime):
    runtime = make_runtime()
    books = Books(runtime)
    started = []

    @metered_tool("t", price="0.01", runtime=runtime)
    async def sibling():
        started.append(1)
        await asyncio.Event().wait()

    @metered_tool("u", price="0.01", runtime=runtime)
    async def failing():
        while len(started) < 5:
            await asyncio.sleep(0)
        raise ValueError

    async def main():
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(sibling())
            group.create_task(failing())

    with budget_scope(runtime=runtime), pytest.raises(ExceptionGroup):
        asyncio.run(main())
    assert books.spent() == 6 * PRICE
    books.settle()
