"""The outbox: what could not be sent at once is sent exactly once, in order, or is reported as lost."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from running import Books
from workers import abandon

from costscope import OutboxFull, Runtime, StoreError, StoreUnavailable, budget_scope, metered_tool
from costscope.background.outbox import Outbox
from costscope.ledger import Account, Commit, Read, Reserve, new_id
from costscope.scope.runtime import services_of
from costscope_memory import MemoryStore

ACCOUNTS = (Account("a", (("cost", 10**15),)),)
SUPPORT = Path(__file__).parents[1] / "support"


class AwayStore(MemoryStore):
    """A store that can go away, and counts how often it was asked."""

    waits = True
    keep_ms = 300_000

    def __init__(self):
        super().__init__()
        self.away = False
        self.asked = threading.Semaphore(0)
        self.batches = []

    def execute(self, commands):
        self.asked.release()
        if self.away:
            raise StoreUnavailable("away")
        self.batches.append(len(commands))
        return super().execute(commands)


@pytest.fixture
def store():
    return AwayStore()


@pytest.fixture
def outbox(store):
    outbox = Outbox(store, limit=1000)
    yield outbox
    store.away = False
    outbox.close()


def commit(cost=1):
    return Commit(new_id(), ACCOUNTS, {"cost": cost}, 300_000)


def spent(store):
    return store.execute((Read(ACCOUNTS),))[0].balances[0][0]


def test_what_is_put_is_sent(outbox, store):
    outbox.put(commit(3))
    assert outbox.drain(30)
    assert spent(store) == 3
    assert len(outbox) == 0


def test_trying_again_draws_no_random_numbers_of_the_users(outbox, store):
    """A program that was seeded to be repeatable stays so, whatever happens in threads it knows nothing of."""
    store.away = True
    before = random.getstate()
    outbox.put(commit())
    for _ in range(4):
        assert store.asked.acquire(timeout=30)
    assert random.getstate() == before


def test_what_waits_is_sent_once_when_the_store_returns(outbox, store):
    store.away = True
    for _ in range(300):
        outbox.put(commit())
    assert not outbox.drain(0.05)
    for _ in range(3):
        assert store.asked.acquire(timeout=30), "it is tried again and again"
    store.away = False
    assert outbox.drain(30)
    assert spent(store) == 300
    assert max(store.batches) <= 128


def test_a_full_outbox_is_an_error_and_nothing_is_dropped(store):
    outbox = Outbox(store, limit=3)
    store.away = True
    for _ in range(3):
        assert not outbox.full
        outbox.put(commit())
    assert outbox.full
    with pytest.raises(OutboxFull, match="3 settlements wait"):
        outbox.put(commit())
    store.away = False
    assert outbox.drain(30)
    assert not outbox.full
    assert spent(store) == 3
    outbox.close()


@pytest.mark.parametrize("outage", ["closed", "open"])
def test_calls_are_refused_while_it_is_full(outage, store):
    """Before they cost anything that could not be written down; `on_outage: open` or not."""
    budget = {"id": "all", "limits": {"cost": "1"}, "on_outage": outage}
    with Runtime(store=store, policy={"budgets": [budget]}, outbox_limit=2) as runtime:
        ran = []

        @metered_tool("t", price="0.01", runtime=runtime)
        def tool():
            ran.append(1)

        with budget_scope(runtime=runtime):
            tool()
            store.away = True
            for _ in range(2):
                services_of(runtime).outbox.put(commit())
            with pytest.raises(StoreUnavailable, match="settlements wait"):
                tool()
            assert len(ran) == 1
            store.away = False
            assert services_of(runtime).outbox.drain(30)
            tool()
            assert len(ran) == 2
        Books(runtime).settle()


def test_what_is_lost_at_the_end_is_reported_with_its_ids(store, caplog):
    outbox = Outbox(store)
    store.away = True
    lost = commit()
    outbox.put(lost)
    with caplog.at_level(logging.ERROR, "costscope"):
        outbox.close(0.05)
        late = commit()
        outbox.put(late)
        outbox.close()
    assert lost.id in caplog.text
    assert late.id in caplog.text, "one that comes after the end is reported too, not dropped silently"


def test_a_settlement_that_the_store_refuses_for_good_does_not_block_the_others(store, caplog):
    class Refusing(AwayStore):
        def execute(self, commands):
            if any(command.amounts.get("cost") == 13 for command in commands if isinstance(command, Commit)):
                raise StoreError("never")
            return super().execute(commands)

    store = Refusing()
    outbox = Outbox(store)
    outbox.put(commit(13))
    assert outbox.drain(30)
    outbox.put(commit(1))
    assert outbox.drain(30)
    assert spent(store) == 1
    assert "refused" in caplog.text
    outbox.close()


def test_many_threads_put_at_once_and_each_is_sent_once(outbox, store):
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for _ in range(100):
            outbox.put(commit())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox.drain(30)
    assert spent(store) == 800


def test_put_by_a_finalizer_in_the_middle_of_anything(outbox, store):
    """The collector runs whenever it likes, also while this thread is inside the outbox."""

    class Abandoned:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            outbox.put(commit())

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(300):
            Abandoned()
            outbox.put(commit())
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert outbox.drain(30)
    assert spent(store) == 600


def test_its_thread_sees_no_scope(store):
    """Background work must not be charged to the tenant whose call happened to start it."""
    seen = []

    class Looking(AwayStore):
        def execute(self, commands):
            if threading.current_thread() is not threading.main_thread():
                seen.append(runtime.current_scope())
            return super().execute(commands)

    with Runtime(store=Looking()) as runtime, budget_scope(runtime=runtime, tenant="acme"):
        services_of(runtime).outbox.put(commit())
        assert services_of(runtime).outbox.drain(30)
    assert seen == [None]


EXIT = """
import gc, sys
import costscope
from costscope.stores import open_store

runtime = costscope.configure(store=sys.argv[1], policy={"budgets": [{"id": "all", "limits": {"cost": "1"}}]})
with costscope.budget_scope():
    for _ in range(int(sys.argv[2])):
        costscope.reserve(tool="t", price="0.01").__enter__()
    gc.collect()
"""


@pytest.mark.parametrize("count", [1, 50])
def test_what_waits_is_sent_at_the_end_of_the_interpreter(count, patient_url):
    done = subprocess.run(  # noqa: PLW1510 - the assertion below shows what it wrote
        [sys.executable, "-W", "error", "-c", EXIT, patient_url, str(count)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Runtime(store=patient_url) as runtime:
        books = Books(runtime)
        assert books.spent() == count * 10_000_000
        books.settle()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_what_waits_is_sent_at_the_end_of_a_worker_process(method, patient_url):
    """A forked worker leaves without running `atexit`."""
    process = multiprocessing.get_context(method).Process(target=abandon, args=(patient_url,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    with Runtime(store=patient_url) as runtime:
        books = Books(runtime)
        assert books.spent() == 10_000_000
        books.settle()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_sends_its_own_and_not_its_parents(outbox, store):
    store.away = True
    outbox.put(commit(100))
    assert store.asked.acquire(timeout=30)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.away = False
            assert len(outbox) == 0
            outbox.put(commit(1))
            assert outbox.drain(10)
            os.write(writer, str(spent(store)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == "1"
    store.away = False
    assert outbox.drain(30)
    assert spent(store) == 100


def test_reserves_are_not_for_the_outbox():
    """Only settlements wait: a reserve that comes late would hold for nobody."""
    assert Reserve not in Outbox.put.__annotations__.values()
