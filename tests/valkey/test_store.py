"""The whole Valkey store: holds that fall due, servers that freeze, and stores that share a ledger."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from holds import held_by_calls

from costscope import Runtime, StoreUnavailable, budget_scope, metered_tool
from costscope.errors import LayoutMismatch, StoreMisconfigured
from costscope.ledger import Account, Commit, Outcome, Read, Reserve, new_id
from costscope.scope.default_runtime import default_in_block
from costscope.scope.runtime import services_of
from costscope_valkey import open_url
from costscope_valkey.store import ValkeyStore

RUN = (Account("run/r-1", (("cost", 100),)),)
LEASE = 600_000
PATIENT = "&connect_timeout_ms=10000&operation_timeout_ms=20000&total_timeout_ms=40000"


@pytest.fixture
def url(valkey_url) -> str:
    return valkey_url + PATIENT


@pytest.fixture
def store(url):
    store = open_url(url)
    yield store
    store.close()


@pytest.fixture(params=["sync", "async"])
def execute(request, store):
    """Applies a batch in one colour or the other."""
    if request.param == "sync":
        yield lambda *commands: store.execute(commands)
        return
    with asyncio.Runner() as runner:
        yield lambda *commands: runner.run(store.aexecute(commands))
        runner.run(store.aclose())


def lose(execute, count: int, on_lost: str = "release") -> None:
    """Holds of 1 whose lease has run out."""
    both = (*RUN, Account("tenant/acme", (("cost", 10**6),)))
    execute(*[Reserve(new_id(), both, {"cost": 1}, 1, on_lost) for _ in range(count)])
    time.sleep(0.005)


def test_whoever_comes_next_settles_what_is_due(execute, store):
    lose(execute, 60, "charge")
    execute(Read(RUN))
    assert execute(Read(RUN))[0].balances == ((60, 0),)
    assert store.snapshot().holds == ()


def test_a_reserve_that_only_dead_holds_refuse_is_granted_in_the_same_call(execute):
    lose(execute, 100)
    (reply,) = execute(Reserve(new_id(), RUN, {"cost": 100}, LEASE))
    assert (reply.outcome, reply.balances) == (Outcome.GRANTED, ((0, 100),))


def test_of_a_batch_only_the_refused_are_tried_again(execute, store):
    lose(execute, 90)
    small, large = new_id(), new_id()
    replies = execute(
        Reserve(small, RUN, {"cost": 10}, LEASE), Reserve(large, RUN, {"cost": 80}, LEASE), Read(RUN)
    )
    assert [reply.outcome.name for reply in replies] == ["GRANTED", "GRANTED", "READ"]
    assert {hold.id for hold in store.snapshot().holds} == {small, large}
    (refused,) = execute(Reserve(new_id(), RUN, {"cost": 11}, LEASE))
    assert refused.outcome is Outcome.DENIED


def test_more_holds_than_one_call_settles_are_settled_by_the_next_ones(execute, store):
    account = (Account("wide", (("cost", 10**6),)),)
    for _ in range(4):
        execute(*[Reserve(new_id(), account, {"cost": 1}, 1) for _ in range(100)])
    time.sleep(0.005)
    for _ in range(6):
        execute(Read(account))
    assert execute(Read(account))[0].balances == ((400, 0),)


def test_an_audit_settles_what_is_due_first(url, store):
    lose(lambda *commands: store.execute(commands), 50)
    store.execute([Read(RUN)])
    report = store.audit()
    assert (report.exact, report.holds) == (True, 0)


def test_a_store_that_was_just_opened_audits_what_others_lost(url, store):
    """It has not been told yet that something is due."""
    short = (Account("short", (("cost", 10),), keep_ms=30), *RUN)
    store.execute([Reserve(new_id(), short, {"cost": 5}, LEASE)])
    time.sleep(0.06)
    other = open_url(url)
    report = other.audit()
    assert report.exact, report.differences
    other.close()


def test_many_at_once_meet_the_same_dead_holds(store):
    """Threads and tasks of two stores, each with its share of what the dead held."""
    lose(lambda *commands: store.execute(commands), 100)

    def take(_) -> Outcome:
        return store.execute([Reserve(new_id(), RUN, {"cost": 1}, LEASE)])[0].outcome

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(take, range(120)))
    assert outcomes.count(Outcome.GRANTED) == 100
    assert store.audit().exact


def test_two_stores_share_a_ledger_and_a_third_one_does_not(url, store):
    other, apart = open_url(url), open_url(url.replace("ledger=", "ledger=x"))
    hold = new_id()
    store.execute([Reserve(hold, RUN, {"cost": 60}, LEASE)])
    assert other.execute([Commit(hold, RUN, {"cost": 50}, 1000)])[0].outcome is Outcome.COMMITTED
    assert store.execute([Read(RUN)])[0].balances == ((50, 0),)
    assert apart.execute([Read(RUN)])[0].balances == ((0, 0),)
    other.close()
    apart.close()


def test_a_batch_of_600_is_sent_as_three_scripts(valkey_server_factory):
    server = valkey_server_factory(appendonly="yes")
    store = open_url(f"{server.url}?ledger=t{PATIENT}")

    def scripts() -> int:
        stats = server.ask("INFO commandstats")
        calls = [line for line in stats.splitlines() if line.startswith("cmdstat_evalsha:")]
        return int(calls[0].split("calls=")[1].split(",")[0]) if calls else 0

    store.execute([Read(RUN)])
    before = scripts()
    replies = store.execute([Reserve(new_id(), RUN, {"cost": 0}, LEASE) for _ in range(600)])
    assert len(replies) == 600
    assert scripts() - before == 3
    store.close()


def test_a_ledger_of_another_layout_is_refused(url, store):
    marker = f"costscope:layout:{{{url.split('ledger=')[1].split('&')[0]}}}"
    store._link.command("SET", marker, "2")
    with pytest.raises(LayoutMismatch, match="layout 2, this costscope writes layout 1"):
        open_url(url)
    store._link.command("DEL", marker)


def test_a_server_that_is_away_is_checked_when_it_comes(valkey_server_factory):
    server = valkey_server_factory(maxmemory_policy="allkeys-lru")
    server.kill()
    store = open_url(f"{server.url}?ledger=t&total_timeout_ms=50")
    with pytest.raises(StoreUnavailable):
        store.execute([Read(RUN)])
    server.start()
    with pytest.raises(StoreMisconfigured, match="noeviction"):
        store.execute([Read(RUN)])
    with pytest.raises(StoreMisconfigured, match="noeviction"):
        asyncio.run(store.aexecute([Read(RUN)]))
    store.close()


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_reserve_in_a_frozen_server_is_given_back_when_it_thaws(valkey_server_factory, colour):
    """The server may apply it when it wakes up; nobody waits for that hold any more."""
    server = valkey_server_factory(appendonly="yes")
    store = open_url(f"{server.url}?ledger=t")
    ran = []

    @metered_tool("step", price="0.01")
    def step() -> None:
        ran.append(1)

    @metered_tool("step", price="0.01")
    async def astep() -> None:
        ran.append(1)

    async def main() -> None:
        await astep()
        await store.aclose()

    def call() -> None:
        asyncio.run(main()) if colour == "async" else step()

    with Runtime(store=store) as runtime, default_in_block(runtime), budget_scope(run="r-1", max_cost="1.00"):
        call()
        server.freeze()
        started = time.monotonic()
        try:
            with pytest.raises(StoreUnavailable):
                call()
        finally:
            server.thaw()
        assert time.monotonic() - started < 5  # 0.5 s, on a machine that has nothing else to do
        assert services_of(runtime).outbox.drain(30)
        assert len(ran) == 1
        snapshot = store.snapshot()
        assert held_by_calls(snapshot) == []
        counters = snapshot.accounts[0].meters["cost"]
        assert (counters.spent, counters.held) == (10_000_000, 0)
        assert store.audit().exact
    store.close()


def test_neither_url_nor_repr_shows_a_password(valkey_server_factory):
    server = valkey_server_factory(tcp=True, requirepass="hunter2", appendonly="yes")
    store = open_url(f"valkey://:hunter2@127.0.0.1:{server.port}/0")
    assert isinstance(store, ValkeyStore)
    assert store.execute([Read(RUN)])[0].balances == ((0, 0),)
    assert "hunter2" not in repr(store) + store.url
    store.close()
