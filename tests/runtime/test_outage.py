"""The store is away: calls are refused or let through as the policy says, and every settlement lands once."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from running import PATIENT, Books

from costscope import (
    BudgetExceeded,
    CallDenied,
    Runtime,
    StoreError,
    StoreUnavailable,
    budget_scope,
    metered_model,
    metered_tool,
)
from costscope.scope.runtime import services_of
from costscope_valkey.url import Timeouts

HASTY = Timeouts(connect_s=0.05, operation_s=0.05, total_s=0.1)
"""While the server is away, so that the tests are not held up."""
LEDGER = f"?ledger=outage{PATIENT}"
"""While it is there: a busy machine may be late by more than those."""


class Server:
    """One whose clients are hasty while it is away, and only then."""

    def __init__(self, server) -> None:
        self._server = server
        self.url = server.url
        self.stores = []

    def freeze(self) -> None:
        for store in self.stores:
            set_timeouts(store, HASTY)
        self._server.freeze()

    def thaw(self) -> None:
        self._server.thaw()
        for store in self.stores:
            set_timeouts(store, Timeouts(connect_s=10, operation_s=20, total_s=40))

    def kill(self) -> None:
        self.freeze()
        self._server.kill()

    def start(self) -> None:
        self._server.start()
        self.thaw()


def set_timeouts(store, timeouts: Timeouts) -> None:
    address = replace(store._link.server, timeouts=timeouts)
    store._link.server = store._alink.server = address
    for lane in store._alink._lanes.values():
        lane._server = address
    with suppress(OSError):  # it is closed: the next one is made with these
        store._link._wire.limit(timeouts.operation_s)


@pytest.fixture
def server(valkey_server_factory):
    server = Server(valkey_server_factory(appendonly="yes"))
    yield server
    server.thaw()


@pytest.fixture(params=["closed", "open"])
def outage(request):
    return request.param


@pytest.fixture
def runtime(server, outage):
    policy = {"budgets": [{"id": "all", "limits": {"cost": "1"}, "on_outage": outage}]}
    with Runtime(store=server.url + LEDGER, policy=policy) as runtime:
        server.stores.append(runtime.store)
        yield runtime
        server.thaw()
        assert services_of(runtime).outbox.drain(60)


@pytest.fixture
def frozen(server):
    """While it is on, the server takes connections and answers nothing."""

    class Frozen:
        def __enter__(self):
            server.freeze()

        def __exit__(self, *_):
            server.thaw()

    return Frozen()


@pytest.fixture
def tool(runtime, colour):
    ran = []
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: ran.append(1)))
    tool.ran = ran
    return lambda: colour.run(tool), ran


def warm(call):
    """The first call connects and loads the script; a busy machine may need longer than the time-outs here."""
    for _ in range(200):
        try:
            return call()
        except StoreUnavailable:
            time.sleep(0.01)
    raise AssertionError


def test_a_frozen_server_refuses_or_lets_through_as_the_budget_says(tool, runtime, outage, frozen):
    call, ran = tool
    with budget_scope(runtime=runtime):
        warm(call)
        before = len(ran)
        with frozen:
            if outage == "closed":
                with pytest.raises(StoreUnavailable) as refusal:
                    call()
                assert isinstance(refusal.value, CallDenied)
                assert isinstance(refusal.value, StoreError)
                assert not isinstance(refusal.value, BudgetExceeded)
                assert refusal.value.kind == "unavailable"
                assert len(ran) == before
            else:
                call()
                assert len(ran) == before + 1
    books = Books(runtime)
    books.settle()
    assert books.spent() >= len(ran) * 10_000_000, "calls let through are settled afterwards"


def test_a_scope_with_a_limit_of_its_own_fails_closed(tool, runtime, outage, frozen):
    """`open` is a policy's word about its own budget; an inline limit is a promise."""
    call, ran = tool
    with budget_scope(runtime=runtime, max_cost="0.5"):
        warm(call)
        before = len(ran)
        with frozen, pytest.raises(StoreUnavailable):
            call()
        assert len(ran) == before
    Books(runtime).settle()


def test_one_closed_budget_closes_the_call(server, frozen):
    policy = {
        "budgets": [
            {"id": "soft", "limits": {"cost": "1"}, "on_outage": "open"},
            {"id": "hard", "limits": {"cost": "1"}},
        ]
    }
    with Runtime(store=server.url + LEDGER, policy=policy) as runtime:
        server.stores.append(runtime.store)
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
        with budget_scope(runtime=runtime):
            warm(tool)
            with frozen, pytest.raises(StoreUnavailable):
                tool()
        Books(runtime).settle()


def test_a_call_that_began_before_the_outage_is_settled_after_it_exactly_once(runtime, server, colour):
    @colour.define
    def body():
        server.freeze()

    tool = metered_tool("t", price="0.01", runtime=runtime)(body)
    warm_up = metered_tool("w", price="0", runtime=runtime)(colour.define(lambda: None))
    with budget_scope(runtime=runtime):
        warm(lambda: colour.run(warm_up))
        colour.run(tool)
        assert len(services_of(runtime).outbox) >= 1, "the caller is not kept waiting for the books"
        server.thaw()
    books = Books(runtime)
    assert books.spent() == 10_000_000
    assert books.counters().orphan == 0
    books.settle()


def test_many_settlements_of_an_outage_land_exactly_once(runtime, server):
    """Threads in the middle of their calls when the server stops answering."""
    ready, go = threading.Barrier(9), threading.Event()

    @metered_tool("t", price="0.01", runtime=runtime)
    def tool():
        ready.wait(30)
        assert go.wait(30)

    def work():
        with budget_scope(runtime=runtime):
            tool()

    warm_up = metered_tool("w", price="0", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime):
        warm(warm_up)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    with suppress(threading.BrokenBarrierError):
        ready.wait(30)
    server.freeze()
    go.set()
    for thread in threads:
        thread.join()
    server.thaw()
    books = Books(runtime)
    assert books.spent() == 80_000_000
    books.settle()


def test_a_stream_that_ends_during_the_outage(runtime, server, outage):
    @metered_model("m", price={"input": "1", "output": "2"}, runtime=runtime)
    def stream(text, max_tokens=10):
        yield {"choices": []}
        server.freeze()
        yield {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    warm_up = metered_tool("w", price="0", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime):
        warm(warm_up)
        list(stream("hi"))
        server.thaw()
    books = Books(runtime)
    assert books.spent() == 20_000
    books.settle()


def test_nobody_waits_longer_than_the_total_time_out(runtime, server, frozen, outage):
    """With many tasks at once, too."""

    @metered_tool("t", price="0.0001", runtime=runtime)
    async def tool():
        return None

    async def main():
        for _ in range(200):
            with suppress(StoreUnavailable):
                await tool()
                break
        server.freeze()
        started = time.monotonic()
        results = await asyncio.gather(*(tool() for _ in range(50)), return_exceptions=True)
        took = time.monotonic() - started
        server.thaw()
        return results, took

    with budget_scope(runtime=runtime):
        results, took = asyncio.run(main())
    if outage == "closed":
        assert {type(result) for result in results} == {StoreUnavailable}
    else:
        assert results == [None] * 50
    assert took < 30, "a hang would be the test's own time-out"
    Books(runtime).settle()


def test_a_server_that_is_gone_and_comes_back(runtime, server, outage):
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime):
        warm(tool)
        server.kill()
        with suppress(StoreUnavailable):
            tool()
        server.start()
        warm(tool)
    books = Books(runtime)
    books.settle()
    assert books.spent() >= 20_000_000


def test_no_server_at_all_refuses_calls_and_not_the_runtime(tmp_path, outage):
    """A store that is away when the program starts may come back; a program should not fail for it."""
    policy = {"budgets": [{"id": "all", "limits": {"cost": "1"}, "on_outage": outage}]}
    with Runtime(
        store=f"unix://{tmp_path}/nobody.sock?ledger=outage&total_timeout_ms=100",
        policy=policy,
        outbox_limit=100,
    ) as runtime:
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: "ran")
        with budget_scope(runtime=runtime):
            if outage == "open":
                assert tool() == "ran"
            else:
                with pytest.raises(StoreUnavailable):
                    tool()
