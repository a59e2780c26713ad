"""`on_denied`: what a refused call does instead of raising, in every shape that a metered function can have."""

from __future__ import annotations

import asyncio
import functools
import threading
import time

import pytest
from running import Books

from costscope import (
    BudgetExceeded,
    InvalidInput,
    Return,
    RunHalted,
    Wait,
    budget_scope,
    metered_model,
    metered_tool,
    reserve,
)
from costscope.scope.runtime import services_of

LIMITED = {"budgets": [{"id": "all", "limits": {"cost": "0.01"}}]}
"""Room for one call of 0.01: a policy that does nothing but refuse."""

RETURNING = {"budgets": [LIMITED["budgets"][0] | {"on_denied": {"return": "instead"}}]}
WAITING = {"budgets": [LIMITED["budgets"][0] | {"on_denied": {"wait": "20s"}}]}


@pytest.fixture
def limited(make_runtime):
    return make_runtime(policy=LIMITED)


def spend_it(runtime) -> None:
    with reserve(tool="first", price="0.01", runtime=runtime):
        pass


# ------------------------------------------------------------------------------------------ return


@pytest.mark.parametrize("value", ["instead", None, 0, [1, 2]])
def test_a_refused_function_returns_the_value_of_its_decorator(value, limited, colour):
    calls = []
    tool = metered_tool("t", price="0.01", on_denied=Return(value), runtime=limited)(
        colour.define(lambda: calls.append(1))
    )
    with budget_scope(runtime=limited):
        spend_it(limited)
        assert colour.run(tool) == value
    assert calls == []
    Books(limited).settle()


def test_a_refused_function_returns_the_value_of_the_budget_that_refused(make_runtime, colour):
    runtime = make_runtime(policy=RETURNING)
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: "real"))
    with budget_scope(runtime=runtime):
        assert colour.run(tool) == "real"
        assert colour.run(tool) == "instead"


def test_what_the_decorator_says_goes_before_what_the_budget_says(make_runtime, colour):
    runtime = make_runtime(policy=RETURNING)
    raising = metered_tool("t", price="0.01", on_denied="raise", runtime=runtime)(colour.define(lambda: 1))
    own = metered_tool("t", price="0.01", on_denied=Return("own"), runtime=runtime)(colour.define(lambda: 1))
    with budget_scope(runtime=runtime):
        spend_it(runtime)
        with pytest.raises(BudgetExceeded):
            colour.run(raising)
        assert colour.run(own) == "own"


def test_a_limit_of_the_scope_itself_has_nothing_to_return(make_runtime):
    runtime = make_runtime(policy=RETURNING)
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: 1)
    with budget_scope(runtime=runtime, max_tool_calls=0), pytest.raises(BudgetExceeded):
        tool()


@pytest.mark.parametrize(("value", "items"), [("instead", ["instead"]), (None, []), (["a"], [["a"]])])
def test_a_refused_generator_yields_the_value_alone_and_nothing_for_none(value, items, limited, colour):
    def body():
        yield "real"

    generate = metered_tool("g", price="0.01", on_denied=Return(value), runtime=limited)(colour.define(body))

    def all_items():
        return list(generate())

    async def all_items_async():
        return [item async for item in generate()]

    with budget_scope(runtime=limited):
        collect = all_items if colour.name == "sync" else all_items_async
        assert colour.run(collect) == ["real"]
        assert colour.run(collect) == items
    Books(limited).settle()


def test_a_generator_is_refused_by_a_budget_that_returns(make_runtime):
    runtime = make_runtime(policy=RETURNING)

    @metered_tool("g", price="0.01", runtime=runtime)
    def generate():
        yield "real"

    with budget_scope(runtime=runtime):
        assert list(generate()) == ["real"]
        assert list(generate()) == ["instead"]


def test_a_function_that_would_return_a_stream_returns_the_value(limited):
    @metered_model("m", price="0.01", estimate="0.01", on_denied=Return([]), runtime=limited)
    def stream():
        return iter(["chunk"])

    with budget_scope(runtime=limited):
        assert list(stream()) == ["chunk"]
        assert stream() == []


def hidden(function):
    """What SDKs do: a plain function in front of a coroutine function."""

    @functools.wraps(function)
    def plain(*args, **kwargs):
        return function(*args, **kwargs)

    return plain


def test_a_hidden_coroutine_function_that_is_refused_can_be_awaited_all_the_same(limited):
    @metered_model("m", price="0.01", estimate="0.01", on_denied=Return("instead"), runtime=limited)
    @hidden
    async def create():
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    async def main():
        with budget_scope(runtime=limited):
            assert await create() != "instead"
            assert await create() == "instead"

    asyncio.run(main())
    Books(limited).settle()


def test_a_halted_run_raises_whatever_its_calls_are_to_return(make_runtime, colour):
    runtime = make_runtime(policy={"budgets": [LIMITED["budgets"][0] | {"on_limit": "halt_run"}]})
    tool = metered_tool("t", price="0.01", on_denied=Return("instead"), runtime=runtime)(
        colour.define(lambda: "real")
    )
    with budget_scope(runtime=runtime, run="r-1"):
        assert colour.run(tool) == "real"
        assert colour.run(tool) == "instead"
        with pytest.raises(RunHalted):
            colour.run(tool)


def test_a_block_has_nothing_to_return(make_runtime):
    runtime = make_runtime(policy=RETURNING)
    with budget_scope(runtime=runtime):
        spend_it(runtime)
        with (
            pytest.raises(BudgetExceeded, match="exhausted"),
            reserve(tool="t", price="0.01", runtime=runtime),
        ):
            pytest.fail("it was refused")
    with pytest.raises(InvalidInput, match="a block returns nothing"):
        reserve(tool="t", price="0.01", on_denied=Return(1), runtime=runtime)


# -------------------------------------------------------------------------------------------- wait


class Holder(threading.Thread):
    """Holds all there is until it is told to give it back."""

    def __init__(self, runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.holding, self.release = threading.Event(), threading.Event()

    def run(self) -> None:
        with (
            budget_scope(runtime=self.runtime),
            reserve(tool="h", price="0.01", runtime=self.runtime) as hold,
        ):
            self.holding.set()
            self.release.wait(30)
            hold.release()

    def __enter__(self):
        self.start()
        assert self.holding.wait(30)
        return self

    def __exit__(self, *_) -> None:
        self.release.set()
        self.join(30)


def when_waiting(runtime, then) -> threading.Thread:
    """Do this as soon as somebody waits."""

    def watch():
        deadline = time.monotonic() + 30
        while not services_of(runtime).wait_list and time.monotonic() < deadline:
            time.sleep(0.002)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.fixture(params=["policy", "decorator"])
def waiting(request, make_runtime):
    """`(runtime, on_denied=)` where the budget, or the decorator alone, says that calls wait."""
    if request.param == "policy":
        return make_runtime(policy=WAITING), None
    return make_runtime(policy=LIMITED), Wait("20s")


def test_a_call_waits_for_those_in_flight(waiting, colour):
    runtime, on_denied = waiting
    tool = metered_tool("t", price="0.01", on_denied=on_denied, runtime=runtime)(
        colour.define(lambda: "real")
    )
    with Holder(runtime) as holder, budget_scope(runtime=runtime):
        thread = when_waiting(runtime, holder.release.set)
        assert colour.run(tool) == "real"
        thread.join()
    assert not services_of(runtime).wait_list
    Books(runtime).settle()


def test_a_generator_waits_at_its_first_step(waiting, colour):
    runtime, on_denied = waiting

    def body():
        yield "real"

    generate = metered_tool("g", price="0.01", on_denied=on_denied, runtime=runtime)(colour.define(body))

    async def collect_async():
        return [item async for item in generate()]

    collect = collect_async if colour.name == "async" else lambda: list(generate())
    with Holder(runtime) as holder, budget_scope(runtime=runtime):
        thread = when_waiting(runtime, holder.release.set)
        assert colour.run(collect) == ["real"]
        thread.join()
    Books(runtime).settle()


def test_a_block_waits(waiting):
    runtime, on_denied = waiting

    async def in_a_block():
        async with reserve(tool="t", price="0.01", on_denied=on_denied, runtime=runtime) as hold:
            return hold.held

    for asynchronous in (False, True):
        with Holder(runtime) as holder, budget_scope(runtime=runtime):
            thread = when_waiting(runtime, holder.release.set)
            if asynchronous:
                assert asyncio.run(in_a_block())
            else:
                with reserve(tool="t", price="0.01", on_denied=on_denied, runtime=runtime) as hold:
                    assert hold.held
                    hold.release()
            thread.join()
        if not asynchronous:
            Books(runtime).settle()


def test_a_hidden_coroutine_waits_without_holding_up_its_loop(waiting):
    """The call it waits for is a task of the same loop, which must go on meanwhile."""
    runtime, on_denied = waiting
    settings = {"price": "0.01", "estimate": "0.01", "on_denied": on_denied, "runtime": runtime}

    @metered_model("m", **settings)
    @hidden
    async def create():
        return "real"

    async def main():
        entered = asyncio.Event()

        async def hold_all():
            async with reserve(tool="h", price="0.01", runtime=runtime) as hold:
                entered.set()
                while not services_of(runtime).wait_list:
                    await asyncio.sleep(0.002)
                hold.release()

        with budget_scope(runtime=runtime):
            task = asyncio.create_task(hold_all())
            await entered.wait()
            assert await asyncio.wait_for(create(), 20) == "real"
            await task

    asyncio.run(main())


def test_a_plain_function_in_a_loop_is_refused_at_once(waiting):
    runtime, on_denied = waiting
    tool = metered_tool("t", price="0.01", on_denied=on_denied, runtime=runtime)(lambda: 1)

    async def main():
        began = time.monotonic()
        with pytest.raises(BudgetExceeded, match="in_flight"):
            tool()
        assert time.monotonic() - began < 10

    with Holder(runtime), budget_scope(runtime=runtime):
        asyncio.run(main())


@pytest.mark.parametrize("refusal", ["exhausted", "never_fits"])
def test_nobody_waits_for_what_waiting_does_not_help(refusal, waiting, colour):
    runtime, on_denied = waiting
    price = "0.01" if refusal == "exhausted" else "0.02"
    tool = metered_tool("t", price=price, on_denied=on_denied, runtime=runtime)(colour.define(lambda: 1))
    with budget_scope(runtime=runtime):
        spend_it(runtime)
        began = time.monotonic()
        with pytest.raises(BudgetExceeded, match=refusal):
            colour.run(tool)
        assert time.monotonic() - began < 10


def test_the_wait_is_bounded_and_leaves_the_queue(make_runtime, colour):
    """Who gives up must not block those who come later: they are served at once when there is room."""
    runtime = make_runtime(policy=LIMITED)
    tool = metered_tool("t", price="0.01", on_denied=Wait(0.1), runtime=runtime)(
        colour.define(lambda: "real")
    )
    plain = metered_tool("t", price="0.01", runtime=runtime)(lambda: "real")
    with budget_scope(runtime=runtime):
        with Holder(runtime):
            began = time.monotonic()
            with pytest.raises(BudgetExceeded, match="in_flight"):
                colour.run(tool)
            assert 0.1 <= time.monotonic() - began < 10
        assert not services_of(runtime).wait_list
        assert plain() == "real"
    Books(runtime).settle()


def test_a_cancelled_waiter_leaves_the_queue(make_runtime):
    runtime = make_runtime(policy=LIMITED)

    @metered_tool("t", price="0.01", on_denied=Wait("20s"), runtime=runtime)
    async def tool():
        return "real"

    async def main():
        task = asyncio.create_task(tool())
        while not services_of(runtime).wait_list:
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.1)  # it has asked with its ticket by then
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    plain = metered_tool("t", price="0.01", runtime=runtime)(lambda: "real")
    with budget_scope(runtime=runtime):
        with Holder(runtime):
            asyncio.run(main())
        assert services_of(runtime).outbox.drain(10)
        assert plain() == "real"
    assert not services_of(runtime).wait_list
    Books(runtime).settle()


@pytest.fixture
def long_pauses(monkeypatch):
    """Whoever waits does not ask again by itself for as long as a test may take."""
    monkeypatch.setattr("costscope.engine.enforcement.waiting._FIRST_S", 100.0)
    monkeypatch.setattr("costscope.engine.enforcement.waiting._LONGEST_S", 100.0)


@pytest.mark.usefixtures("long_pauses")
def test_a_settlement_in_this_process_wakes_who_waits_for_it(make_runtime, colour):
    runtime = make_runtime(policy=LIMITED)
    tool = metered_tool("t", price="0.01", on_denied=Wait("90s"), runtime=runtime)(
        colour.define(lambda: "real")
    )
    with Holder(runtime) as holder, budget_scope(runtime=runtime):
        thread = when_waiting(runtime, holder.release.set)
        began = time.monotonic()
        assert colour.run(tool) == "real"
        assert time.monotonic() - began < 30
        thread.join()


@pytest.mark.usefixtures("long_pauses")
def test_a_commit_that_gives_something_back_wakes_who_waits_for_it(make_runtime):
    """Of what was held only a part was spent: the rest is free, by a plain commit of a scope that no policy acts on."""
    runtime = make_runtime(policy={"budgets": [{"id": "all", "limits": {"cost": "0.02"}}]})
    first = metered_tool("f", estimate="0.02", usage=lambda _: "0.01", runtime=runtime)

    @first
    def hold_all():
        deadline = time.monotonic() + 30
        while not services_of(runtime).wait_list and time.monotonic() < deadline:
            time.sleep(0.002)

    second = metered_tool("t", price="0.01", on_denied=Wait("90s"), runtime=runtime)(lambda: "real")
    with budget_scope(runtime=runtime) as scope:
        thread = threading.Thread(target=lambda: _in(runtime, hold_all))
        thread.start()
        deadline = time.monotonic() + 30
        while scope.refresh()[0].held == 0 and time.monotonic() < deadline:
            time.sleep(0.002)
        began = time.monotonic()
        assert second() == "real"
        assert time.monotonic() - began < 30
        thread.join()


def _in(runtime, function) -> None:
    with budget_scope(runtime=runtime):
        function()
