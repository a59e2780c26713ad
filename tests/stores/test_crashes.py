"""SIGKILL: of a process inside a call, and of the server under load. Nothing leaks and nothing acknowledged is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
import spender
from holds import held_by_calls

from costscope import Runtime, StoreUnavailable, budget_scope, metered_tool
from costscope.ledger import Account, Commit, Outcome, Read, Release, Reserve, new_id
from costscope.scope.default_runtime import default_in_block
from costscope.scope.runtime import services_of

CENT = 10_000_000
LEASE_S = 0.4


@pytest.fixture
def store(valkey_url):
    store = spender.open_patiently(valkey_url)
    yield store
    store.close()


@pytest.fixture
def killed_inside_a_call(valkey_url, tmp_path):
    """Starts a process that reserves 0.01 and calls the provider; kills it there."""
    workers = []

    def run(on_lost: str) -> None:
        command = [
            sys.executable,
            spender.__file__,
            valkey_url,
            str(tmp_path / "provider"),
            "hang",
            str(LEASE_S),
            on_lost,
        ]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        workers.append(worker)
        assert worker.stdout.readline() == "ready\n"
        worker.stdin.write("go\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "inside\n"
        worker.kill()
        worker.wait()

    yield run
    for worker in workers:
        worker.kill()
        worker.wait()
        worker.stdin.close()
        worker.stdout.close()


def cost(store):
    (account,) = store.snapshot().accounts
    return account.meters["cost"]


def after_the_lease(store) -> None:
    """Whoever comes next is told that something is due, and settles it first."""
    deadline = time.monotonic() + 20
    accounts = (Account("bystander", (("cost", 1),)),)
    while store.snapshot().holds:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        store.execute([Read(accounts)])


@pytest.mark.parametrize("on_lost", ["charge", "release"])
def test_a_killed_process_leaves_nothing_behind_after_the_lease(store, killed_inside_a_call, on_lost):
    killed_inside_a_call(on_lost)
    counters = cost(store)
    if store.snapshot().holds:  # not if this machine was asleep for the length of the lease
        assert (counters.spent, counters.held) == (0, CENT)
        assert store.audit().exact
    after_the_lease(store)
    counters = cost(store)
    assert counters.held == 0
    assert counters.spent == counters.presumed == (CENT if on_lost == "charge" else 0)
    assert counters.released == (0 if on_lost == "charge" else CENT)
    assert store.audit().exact


def test_a_late_commit_replaces_what_was_presumed_of_a_killed_process(store, killed_inside_a_call):
    """Somebody finds the invoice: the id stands in the books while the hold is live."""
    killed_inside_a_call("charge")
    (hold,) = held_by_calls(store.snapshot())
    accounts = tuple(Account(key, (("cost", 100 * CENT),)) for key in {key for key, _, _ in hold.lines})
    after_the_lease(store)
    (reply,) = store.execute([Commit(hold.id, accounts, {"cost": CENT // 2}, 60_000)])
    assert reply.outcome is Outcome.LATE
    counters = cost(store)
    assert (counters.spent, counters.presumed, counters.refund) == (CENT // 2, 0, CENT // 2)
    assert store.audit().exact


def test_the_next_reserve_is_admitted_at_once_when_only_a_dead_hold_stood_in_its_way(store):
    accounts = (Account("run/r-1", (("cost", 100),)),)
    store.execute([Reserve(new_id(), accounts, {"cost": 100}, 1, "release")])
    time.sleep(0.01)
    (reply,) = store.execute([Reserve(new_id(), accounts, {"cost": 100}, 60_000)])
    assert reply.outcome is Outcome.GRANTED


class Client(threading.Thread):
    """Reserves and commits without end; repeats with the same id until it is answered, through every outage."""

    def __init__(self, store, accounts) -> None:
        super().__init__()
        self.store = store
        self.accounts = accounts
        self.stopping = threading.Event()
        self.committed: dict[str, int] = {}
        self.outages = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            n = 0
            while not self.stopping.is_set():
                n += 1
                hold = new_id()
                self.send(Reserve(hold, self.accounts, {"cost": 7}, 600_000), Outcome.GRANTED)
                if n % 5 == 0:
                    self.send(Release(hold, self.accounts, 600_000), Outcome.RELEASED)
                    continue
                actual = n % 11
                self.send(Commit(hold, self.accounts, {"cost": actual}, 600_000), Outcome.COMMITTED)
                self.committed[hold] = actual
        except BaseException as error:  # for the main thread to raise
            self.error = error

    def send(self, command, expected) -> None:
        while True:
            try:
                (reply,) = self.store.execute([command])
            except StoreUnavailable:
                self.outages += 1
                continue
            assert reply.outcome is expected, (command, reply)
            return


@pytest.fixture
def durable_server(valkey_server_factory):
    """It writes its append-only file before it replies. So does one with `everysec`, but not while it flushes that file."""
    return valkey_server_factory(appendonly="yes", appendfsync="no")


def test_a_killed_server_comes_back_with_every_acknowledged_commit(durable_server):
    """The append-only file is written before the reply is sent."""
    limits = (("cost", 10**12),)
    tenant = Account("tenant/acme", limits)
    stores = [spender.open_patiently(f"{durable_server.url}?ledger=crash") for _ in range(2)]
    clients = [Client(stores[n % 2], (Account(f"run/{n}", limits), tenant)) for n in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            before = [len(client.committed) for client in clients]
            deadline = time.monotonic() + 30
            while any(len(c.committed) < n + 50 for c, n in zip(clients, before, strict=True)):
                assert time.monotonic() < deadline
                assert not any(client.error for client in clients), [c.error for c in clients]
                time.sleep(0.005)
            durable_server.kill()
            durable_server.start()
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join()
    assert [client.error for client in clients] == [None] * 4
    store = stores[0]
    spent = 0
    for client in clients:
        repeats = [
            Commit(hold, client.accounts, {"cost": n}, 600_000) for hold, n in client.committed.items()
        ]
        assert {reply.outcome for reply in store.execute(repeats)} == {Outcome.COMMITTED}
        own = sum(client.committed.values())
        spent += own
        assert store.execute([Read(client.accounts[:1])])[0].balances == ((own, 0),)
    assert store.execute([Read((tenant,))])[0].balances == ((spent, 0),)
    report = store.audit()
    assert report.exact, report.differences
    assert report.holds == 0
    for one in stores:
        one.close()


def made(call, **given) -> None:
    """Repeat a call until it is made: a busy machine may need longer than the time-outs of the store."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return call(**given)
        except StoreUnavailable:
            assert time.monotonic() < deadline


def test_calls_fail_closed_while_the_server_is_dead_and_go_on_after(durable_server):
    """What was running when it died is settled when it is back, by the outbox."""
    ran = []

    @metered_tool("step", price="0.01")
    def step(during=None) -> None:
        ran.append(1)
        if during is not None:
            during()

    import costscope_valkey

    store = costscope_valkey.open_url(f"{durable_server.url}?ledger=crash")
    with Runtime(store=store) as runtime, default_in_block(runtime), budget_scope(run="r-1", max_cost="1.00"):
        made(step)
        made(step, during=durable_server.kill)
        with pytest.raises(StoreUnavailable):
            step()
        assert len(ran) == 2
        assert len(services_of(runtime).outbox) >= 1
        durable_server.start()
        assert services_of(runtime).outbox.drain(30)
        made(step)
        counters = cost(store)
        assert (counters.spent, counters.held) == (3 * CENT, 0)
        assert held_by_calls(store.snapshot()) == []
        assert store.audit().exact
    store.close()
