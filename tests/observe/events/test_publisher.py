"""The publisher: records reach the board in order and once, and an outage costs the oldest, not the caller."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from happenings import EVERY_KIND, happening

from costscope import StoreError, StoreUnavailable
from costscope.board import LeaseDeliveries, Publish, ReadEvents
from costscope.events import (
    CallRefused,
    CallSettled,
    EventStream,
    Publisher,
    RunStarted,
    ThresholdCrossed,
    decode_event,
    encode_event,
)
from costscope.ledger import Account, Read
from costscope.stores import open_store
from costscope_memory import MemoryStore

SUPPORT = Path(__file__).parents[2] / "support"


class WaitingStore(MemoryStore):
    """A store elsewhere, which can go away; it counts how often its board was asked."""

    waits = True

    def __init__(self):
        super().__init__()
        self.away = False
        self.asked = threading.Semaphore(0)
        self.batches = []

    def tell(self, ops):
        self.asked.release()
        if self.away:
            raise StoreUnavailable("away")
        self.batches.append(ops)
        return super().tell(ops)


@pytest.fixture
def store():
    return WaitingStore()


@pytest.fixture
def publisher(store):
    publisher = Publisher(store)
    yield publisher
    store.away = False
    publisher.close(30)


def published(store):
    [found] = MemoryStore.tell(store, (ReadEvents(count=2000),))
    return [decode_event(one.record) for one in found]


def ids(events):
    return [event.id for event in events]


def test_every_record_but_settled_ones_is_published_in_order(publisher, store):
    events = [happening(record) for record in EVERY_KIND]
    for event in events:
        publisher.put(event)
    assert publisher.drain(30)
    assert published(store) == [event for event in events if not isinstance(event, CallSettled)]


def test_with_a_store_that_does_not_wait_it_is_published_at_once():
    store = MemoryStore()
    publisher = Publisher(store)
    event = happening()
    publisher.put(event)
    assert published(store) == [event]
    publisher.close()


def test_many_share_a_batch(publisher, store):
    store.away = True
    publisher.put(happening())
    assert store.asked.acquire(timeout=30)
    events = [happening(RunStarted) for _ in range(300)]
    for event in events:
        publisher.put(event)
    store.away = False
    assert publisher.drain(30)
    assert ids(published(store))[1:] == ids(events)
    assert max(map(len, store.batches)) == 128
    assert len(store.batches) == 4


def test_once_and_deliver_are_passed_on(publisher, store):
    first, second = happening(), happening()
    for event in (first, second):
        publisher.put(event, once="account#80", once_ms=60_000, deliver=("ops", "pager"))
    assert publisher.drain(30)
    assert published(store) == [first], "of all that name the same `once`, one is the first"
    [taken] = store.tell((LeaseDeliveries(lease_ms=1000),))
    assert sorted((one.id, one.record) for one in taken) == [
        (f"{first.id}:{name}", encode_event(first)) for name in ("ops", "pager")
    ]


def test_who_delivers_is_told_when_there_is_something_on_the_board(store):
    told = []
    publisher = Publisher(store, delivering=lambda: told.append(len(published(store))))
    publisher.put(happening(RunStarted))
    assert publisher.drain(30)
    assert told == []
    publisher.put(happening(), deliver=("ops",))
    assert publisher.drain(30)
    assert told == [2]
    publisher.close(30)


def test_what_waits_is_published_once_when_the_store_returns(publisher, store):
    store.away = True
    events = [happening(RunStarted) for _ in range(200)]
    for event in events:
        publisher.put(event)
    assert not publisher.drain(0.05)
    for _ in range(3):
        assert store.asked.acquire(timeout=30), "it is tried again and again"
    store.away = False
    assert publisher.drain(30)
    assert ids(published(store)) == ids(events)
    assert len(publisher) == 0


def test_a_reply_that_was_lost_publishes_nothing_twice(publisher, store):
    class Losing(WaitingStore):
        def tell(self, ops):
            answers = super().tell(ops)
            if len(self.batches) == 1:
                raise StoreUnavailable("the reply was lost")
            return answers

    store = Losing()
    publisher = Publisher(store)
    publisher.put(happening(), deliver=("ops",))
    assert publisher.drain(30)
    assert len(store.batches) == 2
    assert len(published(store)) == 1
    [taken] = MemoryStore.tell(store, (LeaseDeliveries(lease_ms=1000),))
    assert len(taken) == 1
    publisher.close(30)


def test_when_too_many_wait_the_oldest_make_room_but_for_those_a_webhook_waits_for(store, caplog):
    publisher = Publisher(store, limit=10)
    store.away = True
    publisher.put(happening())
    assert store.asked.acquire(timeout=30)  # that one is under way
    delivered = [happening(ThresholdCrossed) for _ in range(4)]
    plain = [happening(RunStarted) for _ in range(30)]
    for event in delivered:
        publisher.put(event, deliver=("ops",))
    with caplog.at_level(logging.WARNING, "costscope.events"):
        for event in plain:
            publisher.put(event)
    assert len(publisher) == 10
    store.away = False
    assert publisher.drain(30)
    assert ids(published(store))[1:] == ids(delivered) + ids(plain[-5:])
    assert [record.levelname for record in caplog.records] == ["WARNING"], "one line a minute"
    assert "1 records of events were not published" in caplog.text
    publisher.close(30)


def test_what_webhooks_wait_for_is_bounded_too_and_its_loss_is_an_error(store, caplog):
    publisher = Publisher(store, limit=10)
    store.away = True
    publisher.put(happening())
    assert store.asked.acquire(timeout=30)
    events = [happening() for _ in range(15)]
    for event in events:
        publisher.put(event, deliver=("ops",))
    store.away = False
    assert publisher.drain(30)
    assert ids(published(store))[1:] == ids(events[-10:])
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    publisher.close(30)


def test_the_same_refusal_is_published_once_a_second(publisher, store, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("costscope.observe.events.publisher.time.monotonic", lambda: now[0])

    def refuse(**said):
        event = happening(CallRefused, **said)
        publisher.put(event)
        return event

    expected = [refuse()]
    assert refuse(name="gpt-5", reason="again")
    expected += [refuse(kind="in_flight"), refuse(budget="team"), refuse(labels={"tenant": "other"})]
    now[0] += 0.99
    refuse()
    now[0] += 0.02
    expected.append(refuse())
    delivered = happening(CallRefused)
    publisher.put(delivered, deliver=("ops",))
    monkeypatch.undo()
    assert publisher.drain(30)
    assert published(store) == [*expected, delivered]


def test_refusals_of_ever_new_labels_do_not_fill_the_memory(publisher):
    for number in range(5000):
        publisher.put(happening(CallRefused, labels={"run": str(number)}))
    assert len(publisher._refused) <= 4096


def test_records_the_store_refuses_for_good_do_not_block_the_others(caplog):
    class Refusing(WaitingStore):
        def tell(self, ops):
            if any(op.once == "never" for op in ops if isinstance(op, Publish)):
                raise StoreError("never")
            return super().tell(ops)

    store = Refusing()
    publisher = Publisher(store)
    publisher.put(happening(), once="never")
    assert publisher.drain(30)
    after = happening()
    publisher.put(after)
    assert publisher.drain(30)
    assert published(store) == [after]
    assert "refused 1 records of events for good" in caplog.text
    publisher.close(30)


def test_what_is_left_at_the_end_is_in_the_log(store, caplog):
    publisher = Publisher(store)
    store.away = True
    for _ in range(3):
        publisher.put(happening())
    publisher.close(0.05)
    assert "3 records of events could not be published to memory://" in caplog.text
    publisher.put(happening())
    assert "the runtime is closed" in caplog.text
    publisher.close(30)


def test_an_outage_of_a_store_that_does_not_wait_is_none_of_the_callers_business(caplog):
    class Away(WaitingStore):
        waits = False

    store = Away()
    publisher = Publisher(store)
    store.away = True
    events = [happening() for _ in range(2)]
    publisher.put(events[0])
    store.away = False
    publisher.put(events[1])
    assert publisher.drain(30)
    assert published(store) == events
    assert caplog.records == []
    publisher.close(30)


@pytest.mark.parametrize("waits", [True, False])
def test_a_finalizer_in_the_middle_of_the_store_does_not_wait_for_its_own_thread(waits):
    class Interrupted(MemoryStore):
        def __init__(self):
            super().__init__()
            self.finalizer = None
            self.waits = waits
            real, self._execute = self._execute, self.run_finalizer
            self.real = real

        def run_finalizer(self, commands, now_ms):
            """As the collector does it: under the lock, in the thread that has it."""
            self.finalizer()
            return self.real(commands, now_ms)

    store = Interrupted()
    stream, publisher = EventStream(), Publisher(store)
    stream.publish_with(publisher)
    event = happening(RunStarted)
    store.finalizer = lambda: stream.emit(event)
    store.execute((Read((Account("a", (("cost", 1),)),)),))
    assert publisher.drain(30)
    assert published(store) == [event]
    publisher.close(30)


def test_put_by_a_finalizer_while_the_same_thread_puts(publisher, store):
    class Abandoned:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            publisher.put(happening(RunStarted))

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(200):
            Abandoned()
            publisher.put(happening(RunStarted))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert publisher.drain(30)
    assert len(published(store)) == 400


def test_many_threads_put_at_once(publisher, store):
    barrier = threading.Barrier(8)

    def work():
        barrier.wait(30)
        for _ in range(100):
            publisher.put(happening(RunStarted))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert publisher.drain(30)
    assert len(set(ids(published(store)))) == 800


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_publishes_its_own_and_not_its_parents(publisher, store):
    store.away = True
    publisher.put(happening())
    assert store.asked.acquire(timeout=30)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.away = False
            publisher.put(happening(RunStarted))
            assert publisher.drain(10)
            os.write(writer, ",".join(type(event).__name__ for event in published(store)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == "RunStarted"
    store.away = False
    assert publisher.drain(30)
    assert [type(event) for event in published(store)] == [ThresholdCrossed]


EXIT = """
import sys
sys.path.insert(0, sys.argv[2])
from costscope.events import Publisher
from costscope.stores import open_store
from happenings import happening

publisher = Publisher(open_store(sys.argv[1]))
for _ in range(300):
    publisher.put(happening())
"""


@pytest.mark.parametrize("worker", [False, True])
def test_what_waits_is_published_before_the_process_ends(worker, valkey_url):
    """Also that of a forked worker of multiprocessing, which leaves without `atexit`."""
    script = EXIT
    if worker:
        body = "\n".join(f"    {line}" for line in EXIT.splitlines())
        script = f"import multiprocessing\n\ndef work():\n{body}\n\n"
        script += (
            "child = multiprocessing.get_context('fork').Process(target=work)\nchild.start()\nchild.join()\n"
        )
    url = f"{valkey_url}&connect_timeout_ms=10000&operation_timeout_ms=20000&total_timeout_ms=40000"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, url, str(SUPPORT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    store = open_store(url)
    [found] = store.tell((ReadEvents(count=2000),))
    assert len(found) == 300
    store.close()
