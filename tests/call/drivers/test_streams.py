"""Streams: generators and the objects of SDKs, whole, broken, abandoned."""

from __future__ import annotations

import asyncio
import gc
import inspect

import pytest
import wrapt

from costscope import (
    BudgetExceeded,
    CallUnscoped,
    NotBilled,
    Usage,
    budget_scope,
    metered_model,
    metered_tool,
)

PRICE = {"input": "1", "output": "2"}
ESTIMATE = "0.05"
HELD = 50_000_000
ACTUAL = 10 * 1000 + 5 * 2000


def chunk(text="a", finish=None):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


LAST = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
WHOLE = [chunk(), chunk(), chunk(finish="stop"), LAST]
NO_USAGE = [chunk(), chunk(finish="stop")]
ANTHROPIC = [
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 10, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


class Stream:
    """As an SDK's: an iterator with a connection behind it."""

    def __init__(self, items, error=None):
        self.items = list(items)
        self.error = error
        self.closed = False
        self.response = "response"

    def __iter__(self):
        return self

    def __next__(self):
        if not self.items:
            raise self.error or StopIteration
        return self.items.pop(0)

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class AsyncStream:
    """The same for an event loop."""

    def __init__(self, items, error=None):
        self.items = list(items)
        self.error = error
        self.closed = False
        self.response = "response"

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if not self.items:
            raise self.error or StopAsyncIteration
        return self.items.pop(0)

    async def close(self):
        self.closed = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()


class TwoWayStream(Stream):
    """LiteLLM's streams can be read either way."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.items:
            raise StopAsyncIteration
        return self.items.pop(0)


class Kind:
    """One way to stream: how it is made, and how it is read."""

    def __init__(self, name):
        self.name = name
        self.asynchronous = name.startswith("async")

    def make(self, runtime, items, error=None, **options):
        options = {"price": PRICE, "estimate": ESTIMATE, "runtime": runtime} | options
        decorate = metered_model("m", **options)

        def generate(text="hi"):
            yield from items
            if error is not None:
                raise error

        async def agenerate(text="hi"):
            for item in items:
                yield item
            if error is not None:
                raise error

        async def awaited(text="hi"):
            return AsyncStream(items, error)

        bodies = {
            "generator": generate,
            "async generator": agenerate,
            "stream object": lambda text="hi": Stream(items, error),
            "async stream object": awaited,
        }
        return decorate(bodies[self.name])

    def read(self, function, count=None):
        """The first items; without a count all of them, and the end."""
        if not self.asynchronous:
            stream = function()
            return [next(stream) for _ in range(count)] if count is not None else list(stream)

        async def read():
            stream = function()
            stream = await stream if inspect.isawaitable(stream) else stream
            if count is not None:
                found = [await anext(stream) for _ in range(count)]
                del stream
                gc.collect()
                return found
            return [item async for item in stream]

        return asyncio.run(read())


@pytest.fixture(params=["generator", "async generator", "stream object", "async stream object"])
def kind(request):
    return Kind(request.param)


@pytest.mark.parametrize("items", [WHOLE, ANTHROPIC], ids=["openai", "anthropic"])
def test_a_whole_stream_is_charged_by_its_usage(items, kind, runtime, books):
    with budget_scope(runtime=runtime):
        assert kind.read(kind.make(runtime, items)) == items
    assert books.spent() == ACTUAL
    assert books.spent("tokens") == 15
    books.settle()


def test_a_stream_without_usage_is_charged_in_full(kind, runtime, books):
    with budget_scope(runtime=runtime):
        kind.read(kind.make(runtime, NO_USAGE))
    assert books.spent() == HELD
    books.settle()


@pytest.mark.parametrize("count", [1, 2])
def test_a_stream_left_early_is_charged_in_full(count, kind, runtime, books):
    """The provider goes on generating for a client that went away."""
    with budget_scope(runtime=runtime):
        assert len(kind.read(kind.make(runtime, WHOLE), count)) == count
        gc.collect()
    assert books.spent() == HELD
    books.settle()


def test_a_stream_whose_usage_had_come_is_charged_by_it_though_left_before_its_end(kind, runtime, books):
    """SDKs stop reading at the provider's last event, and so do their users."""
    with budget_scope(runtime=runtime):
        kind.read(kind.make(runtime, WHOLE), len(WHOLE))
        gc.collect()
    assert books.spent() == ACTUAL
    books.settle()


def test_a_stream_that_is_never_read(kind, runtime, books):
    """A generator has not begun: nothing is asked for. An SDK's stream has: its request is out."""
    function = kind.make(runtime, WHOLE)
    with budget_scope(runtime=runtime):
        kind.read(function, 0)
        gc.collect()
    if "object" in kind.name:
        assert books.spent() == HELD
    else:
        assert books.accounts() == set()
    books.settle()


@pytest.mark.parametrize(("error", "spent"), [(ValueError, HELD), (TimeoutError, HELD), (NotBilled, 0)])
def test_a_stream_that_breaks(error, spent, kind, runtime, books):
    with budget_scope(runtime=runtime), pytest.raises(error):
        kind.read(kind.make(runtime, [chunk()], error()))
    assert books.spent() == spent
    books.settle()


def test_usage_as_the_last_item_of_ones_own_generator(runtime, books):
    @metered_model("m", price=PRICE, runtime=runtime)
    def stream(text, max_tokens=50):
        yield "to"
        yield "ken"
        yield Usage(10, 5)

    with budget_scope(runtime=runtime):
        assert list(stream("hi"))[:2] == ["to", "ken"]
    assert books.spent() == ACTUAL


def test_usage_returned_by_a_generator(runtime, books):
    @metered_model("m", price=PRICE, runtime=runtime)
    def stream(text, max_tokens=50):
        yield "token"
        return Usage(10, 5)

    with budget_scope(runtime=runtime):
        assert list(stream("hi")) == ["token"]
    assert books.spent() == ACTUAL


def test_usage_read_from_the_last_item_by_the_users_function(kind, runtime, books):
    function = kind.make(runtime, [{"n": 1}, {"n": 2}], usage=lambda last: (last["n"], 0))
    with budget_scope(runtime=runtime):
        kind.read(function)
    assert books.spent() == (2 * 1000)
    books.settle()


def test_a_refused_stream_is_refused_at_its_first_step_or_call(kind, runtime, books):
    with budget_scope(runtime=runtime, max_cost="0.01"), pytest.raises(BudgetExceeded):
        kind.read(kind.make(runtime, WHOLE))
    assert not books.snapshot().holds


@pytest.mark.parametrize("decorated", [lambda: (yield 1), lambda: 1])
def test_outside_every_scope_a_stream_is_refused_where_it_is_made(decorated, runtime, recwarn):
    with pytest.raises(CallUnscoped):
        metered_tool("t", runtime=runtime)(decorated)()
    gc.collect()


def test_the_scope_is_that_of_the_call_not_of_the_reader(kind, runtime, books):
    """Whoever reads the answer may be in another scope, or in none."""
    function = kind.make(runtime, WHOLE)
    if kind.asynchronous:

        async def elsewhere():
            with budget_scope(runtime=runtime, tenant="caller", max_cost="1") as scope:
                stream = function()
                stream = await stream if inspect.isawaitable(stream) else stream
            with budget_scope(runtime=runtime, tenant="reader", max_cost="1") as reader:
                assert [item async for item in stream] == WHOLE
            await asyncio.to_thread(scope.refresh)
            return scope, reader

        scope, reader = asyncio.run(elsewhere())
    else:
        with budget_scope(runtime=runtime, tenant="caller", max_cost="1") as scope:
            stream = function()
        with budget_scope(runtime=runtime, tenant="reader", max_cost="1") as reader:
            assert list(stream) == WHOLE
        scope.refresh()
    assert scope.spent * 10**9 == ACTUAL
    assert reader.spent == 0
    books.settle()


def test_send_throw_and_return_value_reach_the_body(runtime, books):
    @metered_tool("t", price="0.01", runtime=runtime)
    def talk():
        got = []
        try:
            while True:
                got.append((yield len(got)))
        except KeyError:
            yield "caught"
        return got

    with budget_scope(runtime=runtime):
        stream = talk()
        assert [next(stream), stream.send("a"), stream.send("b")] == [0, 1, 2]
        assert stream.throw(KeyError) == "caught"
        with pytest.raises(StopIteration) as end:
            next(stream)
        assert end.value.value == ["a", "b"]
        with pytest.raises(StopIteration):
            next(stream)
    assert books.spent("tool_calls") == 1
    books.settle()


def test_asend_and_athrow_reach_the_body(runtime, books):
    @metered_tool("t", price="0.01", runtime=runtime)
    async def talk():
        got = []
        try:
            while True:
                got.append((yield len(got)))
        except KeyError:
            yield "caught"

    async def main():
        stream = talk()
        assert [await anext(stream), await stream.asend("a"), await stream.asend("b")] == [0, 1, 2]
        assert await stream.athrow(KeyError) == "caught"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    with budget_scope(runtime=runtime):
        asyncio.run(main())
    assert books.spent("tool_calls") == 1
    books.settle()


def test_closing_runs_the_bodys_own_clean_up(runtime, books):
    cleaned = []

    @metered_tool("t", price="0.01", runtime=runtime)
    def stream():
        try:
            yield 1
        finally:
            cleaned.append(1)

    with budget_scope(runtime=runtime):
        items = stream()
        next(items)
        items.close()
        items.close()
        stream().close()
    assert cleaned == [1]
    assert books.spent("tool_calls") == 1, "one that never began was not called"
    books.settle()


def test_aclose_from_another_task(runtime, books):
    """Frameworks close in another task than the one that read: no token of a context may matter."""

    @metered_tool("t", price="0.01", runtime=runtime)
    async def stream():
        yield 1
        yield 2

    async def main():
        items = stream()
        assert await asyncio.create_task(anext(items)) == 1
        await asyncio.create_task(items.aclose())

    with budget_scope(runtime=runtime):
        asyncio.run(main())
    assert books.spent("tool_calls") == 1
    books.settle()


@pytest.mark.parametrize("make", [Stream, AsyncStream])
def test_the_proxy_of_an_sdk_stream_stays_what_it_is(make, runtime, books):
    metered = metered_model("m", price=PRICE, estimate=ESTIMATE, runtime=runtime)(lambda: make(WHOLE))
    with budget_scope(runtime=runtime):
        stream = metered()
        assert isinstance(stream, make)
        assert isinstance(stream, wrapt.BaseObjectProxy)
        assert stream.response == "response"
        assert stream.closed is False
        if make is Stream:
            with stream as entered:
                assert entered is stream
            stream.close()
        else:

            async def leave():
                async with stream as entered:
                    assert entered is stream
                await stream.close()

            asyncio.run(leave())
        assert stream.closed is True
    assert books.spent() == HELD
    books.settle()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_for_both_ways_is_read_either_way(asynchronous, runtime, books):
    metered = metered_model("m", price=PRICE, estimate=ESTIMATE, runtime=runtime)(lambda: TwoWayStream(WHOLE))

    async def read():
        return [item async for item in metered()]

    with budget_scope(runtime=runtime):
        assert (asyncio.run(read()) if asynchronous else list(metered())) == WHOLE
    assert books.spent() == ACTUAL
    books.settle()


def test_a_tool_that_returns_a_stream_is_settled_at_once(runtime, books):
    """What a tool costs is known when it returns."""
    metered = metered_tool("t", price="0.01", runtime=runtime)(lambda: Stream(WHOLE))
    with budget_scope(runtime=runtime):
        assert type(metered()) is Stream
    assert books.spent("tool_calls") == 1
    books.settle()


def test_many_streams_collected_unread_from_a_tight_loop(runtime, books):
    """Finalizers run in the middle of anything, here also in the middle of a reservation: no lock may meet itself."""
    metered = metered_model("m", price=PRICE, estimate="0.001", runtime=runtime)(lambda: Stream(WHOLE))
    threshold = gc.get_threshold()
    gc.set_threshold(3)
    try:
        with budget_scope(runtime=runtime):
            for _ in range(300):
                stream = metered()
                stream.response = [stream]  # a cycle: only the collector can free it
                stream.__wrapped__.cycle = stream
    finally:
        gc.set_threshold(*threshold)
    del stream
    gc.collect()
    assert books.spent("model_calls") == 300
    books.settle()
