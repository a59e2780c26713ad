"""The heartbeat renews leases three times before they end, tells holders what is lost, and survives whatever happens."""

from __future__ import annotations

import math
import threading
import time

import pytest
from until import until

from costscope.background.heartbeat import LeaseRenewer, awake_s
from costscope.errors import StoreUnavailable
from costscope.ledger import Outcome, Reply


class Books:
    """Answers every `Extend` as a test wants it."""

    url = "books://"

    def __init__(self) -> None:
        self.batches = []
        self.answer = lambda hold_id: Outcome.EXTENDED

    def execute(self, commands):
        self.batches.append([command.id for command in commands])
        return [Reply(self.answer(command.id)) for command in commands]

    def fail(self, error):
        def raising(hold_id):
            raise error

        self.answer = raising


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def make_renewer(books):
    renewers = []

    def make(lease_ms=90):
        renewers.append(LeaseRenewer(books, lease_ms))
        return renewers[-1]

    yield make
    for renewer in renewers:
        renewer.close()
        until(lambda renewer=renewer: not beating(renewer))


def beating(renewer) -> bool:
    return any(
        thread.name == "costscope-heartbeat" and renewer._worker._thread is thread
        for thread in threading.enumerate()
    )


def test_a_lease_is_renewed_before_it_ends_again_and_again(make_renewer, books):
    renewer = make_renewer(lease_ms=4500)  # a machine that pauses for 3 s loses none
    since = awake_s()
    lease = renewer.add("h", since)
    until(lambda: len(books.batches) >= 3)
    assert awake_s() < lease.lost_at_s
    assert renewer.keeps("h")
    assert lease.renewed_s > since + 3


def test_many_are_renewed_by_one_request(make_renewer, books):
    renewer = make_renewer(lease_ms=60_000)
    leases = [renewer.add(f"h-{number}", awake_s()) for number in range(300)]
    for lease in leases:
        lease.renewed_s -= 30  # due, now that all are there
    renewer._worker.wake()
    until(lambda: sum(len(batch) for batch in books.batches) >= 300)
    assert [len(batch) for batch in books.batches[:3]] == [128, 128, 44]


def test_the_thread_ends_soon_after_the_last_lease_and_begins_with_the_next(make_renewer, books):
    renewer = make_renewer()
    for name in ("first", "second"):
        renewer.add(name, awake_s())
        until(lambda: beating(renewer))
        renewer.drop(name)
        until(lambda: not beating(renewer))
    assert not renewer.keeps("first")


def test_a_thread_with_nothing_to_renew_stays_for_the_next_lease(make_renewer, books):
    renewer = make_renewer(lease_ms=60_000)
    renewer.add("first", awake_s())
    until(lambda: renewer._looks_s < math.inf)
    thread = renewer._worker._thread
    renewer.drop("first")
    assert renewer._worker.drain(20)
    assert renewer._looks_s == math.inf
    renewer.add("second", awake_s())
    until(lambda: renewer._looks_s < math.inf)
    assert renewer._worker._thread is thread
    assert beating(renewer)


def test_a_lease_that_ends_before_the_thread_meant_to_look_is_renewed(make_renewer, books):
    renewer = make_renewer(lease_ms=60_000)
    renewer.add("fresh", awake_s())
    until(lambda: renewer._looks_s < math.inf)
    renewer.add("old", awake_s() - 30)
    until(lambda: books.batches)
    assert books.batches[0] == ["old"]


def test_who_lost_a_slot_by_the_word_of_the_store_is_told_once(make_renewer, books):
    told = []
    books.answer = lambda hold_id: Outcome.LOST if hold_id == "lost" else Outcome.EXTENDED
    renewer = make_renewer()
    kept = renewer.add("kept", awake_s(), lambda: told.append("kept"))
    lost = renewer.add("lost", awake_s(), lambda: told.append("lost"), strict=False)
    until(lambda: told)
    until(lambda: len(books.batches) > 4)
    assert told == ["lost"]
    assert awake_s() >= lost.lost_at_s
    assert awake_s() < kept.lost_at_s
    assert renewer.keeps("kept")
    assert not renewer.keeps("lost")


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OSError("broken")], ids=repr)
def test_who_cannot_renew_in_time_is_told_before_the_lease_ends(make_renewer, books, error):
    told = []
    books.fail(error)
    renewer = make_renewer(lease_ms=600)
    since = awake_s()
    lease = renewer.add("h", since, lambda: told.append(awake_s()))
    until(lambda: told)
    assert told[0] - since > 0.4, "it was tried again as long as there was time"
    assert awake_s() >= lease.lost_at_s
    assert not renewer.keeps("h")


def test_who_may_go_on_while_the_store_is_away_is_not_told(make_renewer, books):
    told = []
    books.fail(StoreUnavailable("away"))
    renewer = make_renewer()
    lease = renewer.add("h", awake_s(), lambda: told.append(1), strict=False)
    until(lambda: len(books.batches) > 12)
    assert not told
    assert awake_s() < lease.lost_at_s
    books.answer = lambda hold_id: Outcome.EXTENDED
    count = len(books.batches)
    until(lambda: len(books.batches) > count)
    assert renewer.keeps("h")


def test_an_outage_shorter_than_the_lease_loses_nothing(make_renewer, books):
    books.fail(StoreUnavailable("away"))
    renewer = make_renewer(lease_ms=12_000)
    since = awake_s() - 4.1
    lease = renewer.add("h", since)
    until(lambda: books.batches)
    books.answer = lambda hold_id: Outcome.EXTENDED
    until(lambda: lease.renewed_s > since)
    assert awake_s() < lease.lost_at_s


def test_a_holder_that_cannot_be_told_does_not_stop_the_heartbeat(make_renewer, books):
    def broken() -> None:
        raise ValueError

    books.answer = lambda hold_id: Outcome.LOST if hold_id == "lost" else Outcome.EXTENDED
    renewer = make_renewer()
    renewer.add("lost", awake_s(), broken)
    renewer.add("kept", awake_s())
    until(lambda: sum("kept" in batch for batch in books.batches) > 3)


def test_a_holder_knows_by_itself_that_it_slept(make_renewer, books):
    """Before anybody else could tell it: its heartbeat is not what wakes first."""
    renewer, woken = make_renewer(lease_ms=600_000), threading.Event()
    books.answer = lambda hold_id: woken.wait(20) and Outcome.EXTENDED
    asleep = renewer.add("h", awake_s() - 600)
    assert awake_s() >= asleep.lost_at_s
    assert awake_s() < renewer.add("i", awake_s() - 599).lost_at_s
    assert awake_s() < renewer.add("j", awake_s() - 9999, strict=False).lost_at_s
    woken.set()


def test_the_clock_of_leases_goes_on_while_the_machine_sleeps():
    """CLOCK_MONOTONIC stands still in suspend on Linux, so that a slot would seem one's own in the morning."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(awake_s() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


def test_a_closed_heartbeat_renews_nothing(make_renewer, books):
    renewer = make_renewer()
    renewer.add("h", awake_s())
    renewer.close()
    until(lambda: not beating(renewer))
    count = len(books.batches)
    lease = renewer.add("i", awake_s())
    until(lambda: awake_s() >= lease.lost_at_s)
    assert len(books.batches) == count
