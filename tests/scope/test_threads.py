"""Where a scope goes by itself, and how it is taken along elsewhere."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from costscope import BudgetExceeded, CallUnscoped, ScopedExecutor, bind_scope, budget_scope, metered_tool


@pytest.fixture
def tool(runtime):
    return metered_tool("t", price="0.01", runtime=runtime)(lambda *_: None)


@pytest.fixture
def tenant(runtime):
    """Says which tenant pays here."""

    def tenant(*_):
        scope = runtime.current_scope()
        return None if scope is None else scope.labels["tenant"]

    return tenant


def in_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_a_plain_thread_has_no_scope(runtime, tenant, tool):
    """True of every Python built with a GIL; what helps is in the error."""
    with budget_scope(runtime=runtime, tenant="acme"):
        found = in_thread(tenant)
        if found is None:
            with pytest.raises(CallUnscoped, match=r"bind_scope.*ScopedExecutor"):
                in_thread(tool)


def test_bind_scope_takes_it_along(runtime, tenant, tool, books):
    with budget_scope(runtime=runtime, tenant="acme"):
        bound = bind_scope(tenant)
        assert in_thread(bound) == "acme"
        thread = threading.Thread(target=bind_scope(tool))
        thread.start()
        thread.join()
    assert bound.__name__ == "tenant"
    assert books.spent("tool_calls") == 1


def test_a_bound_function_puts_back_what_was_there(runtime, tenant):
    with budget_scope(runtime=runtime, tenant="one"):
        bound = bind_scope(tenant)
        raising = bind_scope(lambda: 1 / 0)
    with budget_scope(runtime=runtime, tenant="two"):
        assert (bound(), tenant()) == (None, "two"), (
            "its scope is closed by now, and has no open one around it"
        )
        with pytest.raises(ZeroDivisionError):
            raising()
        assert tenant() == "two"


def test_a_callback_of_an_inner_scope_falls_back_to_the_outer_one(runtime, tenant):
    with budget_scope(runtime=runtime, tenant="one"):
        with budget_scope(runtime=runtime, agent="a"):
            bound = bind_scope(tenant)
        assert in_thread(bound) == "one"


def test_the_executor_takes_it_along(runtime, tenant, tool, books):
    with ScopedExecutor(4) as pool:
        with budget_scope(runtime=runtime, tenant="one"):
            first = [pool.submit(tenant) for _ in range(10)]
            assert list(pool.map(tenant, range(5))) == ["one"] * 5
            list(pool.map(tool, range(5)))
        with budget_scope(runtime=runtime, tenant="two"):
            assert pool.submit(tenant).result() == "two"
        assert pool.submit(tenant).result() is None
        assert {done.result() for done in first} <= {"one", None}
    assert books.spent("tool_calls") == 5


def test_tasks_and_to_thread_carry_it_and_run_in_executor_does_not(runtime, tenant):
    async def main():
        loop = asyncio.get_running_loop()
        with budget_scope(runtime=runtime, tenant="acme"), ScopedExecutor(1) as pool:
            task = asyncio.create_task(asyncio.sleep(0, tenant()))
            found = [await asyncio.create_task(asyncio.to_thread(tenant)), await asyncio.to_thread(tenant)]
            bound = await loop.run_in_executor(None, bind_scope(tenant))
            pooled = await loop.run_in_executor(pool, tenant)
            plain = await loop.run_in_executor(None, tenant)
            timer = loop.create_future()
            loop.call_soon(lambda: timer.set_result(tenant()))
            return [await task, *found, bound, pooled, await timer], plain

    carried, plain = asyncio.run(main())
    assert carried == ["acme"] * 6
    assert plain in (None, "acme"), "free-threaded Python inherits contexts"


def test_a_metered_call_in_a_thread_of_a_metered_call_is_charged_once(runtime, books):
    inner = metered_tool("inner", price="0.01", runtime=runtime)(lambda: None)

    @metered_tool("outer", price="0.01", runtime=runtime)
    def outer():
        in_thread(bind_scope(inner))

    with budget_scope(runtime=runtime):
        outer()
    assert books.spent("tool_calls") == 1
    books.settle()


def test_tasks_do_not_see_scopes_that_others_open(runtime, tenant):
    async def agent(number, barrier):
        with budget_scope(runtime=runtime, tenant=f"t{number}"):
            await barrier.wait()
            return tenant()

    async def main():
        barrier = asyncio.Barrier(10)
        return await asyncio.gather(*(agent(number, barrier) for number in range(10)))

    assert asyncio.run(main()) == [f"t{number}" for number in range(10)]


@pytest.mark.parametrize("workers", [16])
def test_exactly_the_limit_is_admitted_from_many_threads(workers, runtime, tool, books):
    """A budget of 1.00, calls of 0.01: a hundred go through, whoever asks."""
    admitted, refused = [], []

    def work(_):
        for _ in range(20):
            try:
                tool()
                admitted.append(1)
            except BudgetExceeded:
                refused.append(1)

    with budget_scope(runtime=runtime, max_cost="1.00") as scope, ScopedExecutor(workers) as pool:
        list(pool.map(work, range(workers)))
        scope.refresh()
        assert scope.spent == 1
    assert (len(admitted), len(refused)) == (100, workers * 20 - 100)
    books.settle()


def test_exactly_the_limit_is_admitted_from_many_tasks(runtime, books):
    admitted = []

    @metered_tool("t", price="0.01", runtime=runtime)
    async def tool():
        await asyncio.sleep(0)
        admitted.append(1)

    async def agent():
        for _ in range(3):
            try:
                await tool()
            except BudgetExceeded:
                return

    async def main():
        await asyncio.gather(*(agent() for _ in range(128)))
        await runtime.store.aclose()

    with budget_scope(runtime=runtime, max_cost="1.00"):
        asyncio.run(main())
    assert len(admitted) == 100
    books.settle()
