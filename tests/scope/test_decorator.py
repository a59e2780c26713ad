"""`@budget_scope(...)`: a scope for each call of a function of any kind, which no generator leaks."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
from decimal import Decimal

import pytest

from costscope import BudgetExceeded, budget_scope, metered_tool


@pytest.fixture
def tool(runtime):
    return metered_tool("t", price="0.01", runtime=runtime)(lambda: None)


@pytest.fixture
def scoped(runtime):
    """A decorator whose scope allows two calls."""
    return lambda **labels: budget_scope(runtime=runtime, max_tool_calls=2, **labels)


def test_each_call_of_a_function_has_a_scope_of_its_own(scoped, runtime, tool, books, colour):
    seen = []

    @colour.define
    def work(times):
        seen.append(runtime.current_scope())
        for _ in range(times):
            tool()
        return times

    decorated = scoped(agent="a")(work)
    with budget_scope(runtime=runtime, tenant="acme"):
        assert [colour.run(decorated, 2), colour.run(decorated, 2)] == [2, 2]
        with pytest.raises(BudgetExceeded):
            colour.run(decorated, 3)
    assert len({id(scope) for scope in seen}) == 3
    assert {tuple(scope.labels.items()) for scope in seen} == {(("tenant", "acme"), ("agent", "a"))}
    assert all(scope.closed for scope in seen)
    assert runtime.current_scope() is None
    books.settle()


def test_recursion_and_concurrency_open_one_each(scoped, runtime, tool):
    depths = []

    @scoped()
    def recurse(depth):
        tool()
        scope, count = runtime.current_scope(), 0
        while scope is not None:
            scope, count = scope.parent, count + 1
        depths.append(count)
        if depth:
            recurse(depth - 1)

    recurse(1)
    assert depths == [1, 2]

    @scoped()
    async def concurrent(barrier):
        tool()
        await barrier.wait()
        tool()

    async def main():
        barrier = asyncio.Barrier(5)
        await asyncio.gather(*(concurrent(barrier) for _ in range(5)))

    asyncio.run(main())


@pytest.mark.parametrize(
    "kind", ["method", "classmethod", "staticmethod", "classmethod inside", "staticmethod inside"]
)
def test_methods(kind, scoped, runtime, tool):
    def method(owner):
        tool()
        return owner, runtime.current_scope().labels

    def static():
        tool()
        return None, runtime.current_scope().labels

    made = {
        "method": lambda: scoped(agent="a")(method),
        "classmethod": lambda: classmethod(scoped(agent="a")(method)),
        "staticmethod": lambda: staticmethod(scoped(agent="a")(static)),
        "classmethod inside": lambda: scoped(agent="a")(classmethod(method)),
        "staticmethod inside": lambda: scoped(agent="a")(staticmethod(static)),
    }[kind]()
    owner = type("Owner", (), {"work": made})
    instance = owner()
    found, labels = instance.work()
    assert found is {"method": instance, "classmethod": owner, "staticmethod": None}[kind.split()[0]]
    assert labels == {"agent": "a"}


def function(a: int, *, b: str = "x") -> str:
    """Doc."""
    return b


async def coroutine(a: int, *, b: str = "x") -> str:
    """Doc."""
    return b


def generator(a: int, *, b: str = "x"):
    """Doc."""
    yield b


async def async_generator(a: int, *, b: str = "x"):
    """Doc."""
    yield b


@pytest.mark.parametrize(
    "body", [function, coroutine, generator, async_generator], ids=lambda body: body.__name__
)
def test_what_inspect_says_stays(body, scoped):
    decorated = scoped()(body)
    assert inspect.signature(decorated) == inspect.signature(body)
    assert (decorated.__name__, decorated.__qualname__, decorated.__doc__) == (
        body.__name__,
        body.__qualname__,
        "Doc.",
    )
    for question in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert question(decorated) == question(body), question.__name__


@budget_scope(agent="pickled")
def picklable():
    """At module level."""


def test_a_scoped_function_is_pickled_by_name():
    assert pickle.loads(pickle.dumps(picklable)) is picklable


def test_a_metered_generator_that_is_scoped_is_still_a_generator(scoped, runtime, books):
    """The decorators look at what they decorate: it must still say what it is."""
    stream = metered_tool("t", price="0.01", runtime=runtime)(scoped(agent="a")(generator))
    astream = metered_tool("t", price="0.01", runtime=runtime)(scoped(agent="a")(async_generator))

    async def read():
        return [item async for item in astream(1)]

    with budget_scope(runtime=runtime):
        assert list(stream(1)) == ["x"]
        assert asyncio.run(read()) == ["x"]
        assert books.spent("tool_calls") == 2
        stream(1)
        assert books.spent("tool_calls") == 2, "a generator that nobody begins costs nothing"


def test_a_metered_function_inside_and_outside(scoped, runtime, books):
    """Both orders of the two decorators: a scope for each call, or each call in a scope."""
    inner = scoped(agent="a")(
        metered_tool("t", price="0.01", runtime=runtime)(lambda: runtime.current_scope().labels)
    )
    outer = metered_tool("u", price="0.01", runtime=runtime)(
        scoped(agent="b")(lambda: runtime.current_scope().labels)
    )
    assert inner() == {"agent": "a"}
    with budget_scope(runtime=runtime):
        assert outer() == {"agent": "b"}
    assert books.spent("tool_calls") == 2
    books.settle()


# -------------------------------------------------------------------------------- generators


@pytest.fixture
def stream(scoped, runtime, tool):
    """A generator that makes one call before each item, and says in which scope."""

    @scoped(agent="a")
    def stream(items=3):
        for _ in range(items):
            tool()
            yield runtime.current_scope()

    return stream


@pytest.fixture
def astream(scoped, runtime, tool):
    @scoped(agent="a")
    async def stream(items=3):
        for _ in range(items):
            await asyncio.sleep(0)
            tool()
            yield runtime.current_scope()

    return stream


def test_a_generators_scope_is_its_own(stream, runtime, tool):
    with budget_scope(runtime=runtime, tenant="acme") as outer:
        items = stream()
        first = next(items)
        assert first.labels == {"tenant": "acme", "agent": "a"}
        assert runtime.current_scope() is outer, "the caller between two items"
        for _ in range(5):
            tool()
        assert next(items) is first, "one scope for the whole of it"
        with pytest.raises(BudgetExceeded):
            next(items)
        assert first.closed
        assert runtime.current_scope() is outer


def test_an_async_generators_scope_is_its_own(astream, runtime, tool):
    async def main():
        with budget_scope(runtime=runtime, tenant="acme") as outer:
            items = astream(2)
            first = await anext(items)
            assert runtime.current_scope() is outer
            assert await anext(items) is first
            with pytest.raises(StopAsyncIteration):
                await anext(items)
            assert first.closed
            assert runtime.current_scope() is outer

    asyncio.run(main())


def test_interleaved_generators_do_not_mix(stream, runtime, tool):
    with budget_scope(runtime=runtime, tenant="acme") as outer:
        one, two = stream(2), stream(2)
        scopes = [next(one), next(two), next(one), next(two)]
        assert scopes[0] is scopes[2]
        assert scopes[1] is scopes[3]
        assert scopes[0] is not scopes[1]
        assert {scope.parent for scope in scopes} == {outer}
        assert runtime.current_scope() is outer


def test_interleaved_async_generators_in_many_tasks(astream, runtime):
    async def consume(number):
        with budget_scope(runtime=runtime, tenant=f"t{number}"):
            return [scope.labels["tenant"] async for scope in astream(2)]

    async def main():
        return await asyncio.gather(*(consume(number) for number in range(20)))

    assert asyncio.run(main()) == [[f"t{number}"] * 2 for number in range(20)]


@pytest.mark.parametrize("how", ["close", "collect", "throw", "break"])
def test_an_abandoned_generator_leaves_nothing_behind(how, stream, runtime, tool):
    with budget_scope(runtime=runtime) as outer:
        items = stream()
        scope = next(items)
        if how == "close":
            items.close()
        elif how == "throw":
            with pytest.raises(ValueError):
                items.throw(ValueError)
        elif how == "break":
            for _ in items:
                break
        del items
        gc.collect()
        assert scope.closed
        assert runtime.current_scope() is outer


@pytest.mark.parametrize("how", ["aclose", "aclose in another task", "athrow", "collect"])
def test_an_abandoned_async_generator_leaves_nothing_behind(how, astream, runtime):
    async def main():
        with budget_scope(runtime=runtime) as outer:
            items = astream()
            scope = await anext(items)
            if how == "aclose":
                await items.aclose()
            elif how == "aclose in another task":
                await asyncio.create_task(items.aclose())
            elif how == "athrow":
                with pytest.raises(ValueError):
                    await items.athrow(ValueError)
            del items
            gc.collect()
            await asyncio.sleep(0)
            assert scope.closed
            assert runtime.current_scope() is outer

    asyncio.run(main())


def test_a_generator_that_never_began_opens_nothing_for_long(stream, runtime):
    with budget_scope(runtime=runtime) as outer:
        items = stream()
        assert runtime.current_scope() is outer
        del items
        gc.collect()
        assert runtime.current_scope() is outer


def test_send_and_return_reach_the_body(scoped, runtime):
    @scoped()
    def talk():
        received = yield "first"
        return received

    items = talk()
    assert next(items) == "first"
    with pytest.raises(StopIteration) as end:
        items.send("sent")
    assert end.value.value == "sent"


def test_a_metered_generator_in_a_scoped_one(scoped, runtime, books):
    @metered_tool("t", price="0.01", runtime=runtime)
    def inner():
        yield 1
        yield 2

    @scoped(agent="a")
    def outer():
        yield from inner()
        yield from inner()

    with budget_scope(runtime=runtime):
        assert list(outer()) == [1, 2, 1, 2]
        with budget_scope(runtime=runtime, max_tool_calls=1), pytest.raises(BudgetExceeded):
            list(outer())
    assert books.spent("tool_calls") == 3
    books.settle()


def test_a_scope_that_a_metered_generators_body_opens_is_not_the_callers(runtime, tool, books):
    @metered_tool("outer", price="0.01", runtime=runtime)
    def body():
        with budget_scope(runtime=runtime, agent="inside", max_cost="1") as scope:
            yield scope
            tool()
            yield scope

    with budget_scope(runtime=runtime) as mine:
        items = body()
        inside = next(items)
        assert runtime.current_scope() is mine
        tool()
        next(items)
        assert runtime.current_scope() is mine
        inside.refresh()
        assert inside.spent == Decimal("0.01"), "the body's own call, not the caller's"
        items.close()
        assert runtime.current_scope() is mine
    assert books.spent("tool_calls") == 3
    books.settle()
