"""The heart renews leases three times before they end, tells holders what is lost, and survives whatever happens."""

from __future__ import annotations

import threading
import time

import pytest
from until import until

from costscope.background.heartbeat import Heart, awake_s
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
def make_heart(books):
    hearts = []

    def make(lease_ms=90):
        hearts.append(Heart(books, lease_ms))
        return hearts[-1]

    yield make
    for heart in hearts:
        heart.close()
        until(lambda heart=heart: not beating(heart))


def beating(heart) -> bool:
    return any(
        thread.name == "costscope-heart" and heart._thread is thread for thread in threading.enumerate()
    )


def test_a_lease_is_renewed_before_it_ends_again_and_again(make_heart, books):
    heart = make_heart(lease_ms=4500)  # a machine that pauses for 3 s loses none
    since = awake_s()
    beat = heart.add("h", since)
    until(lambda: len(books.batches) >= 3)
    assert not beat.lost
    assert heart.keeps("h")
    assert beat.renewed_s > since + 3


def test_many_are_renewed_by_one_request(make_heart, books):
    heart = make_heart(lease_ms=60_000)
    since = awake_s() - 30
    with heart._changed:  # its thread looks when all are there
        for number in range(300):
            heart.add(f"h-{number}", since)
    until(lambda: sum(len(batch) for batch in books.batches) >= 300)
    assert [len(batch) for batch in books.batches[:3]] == [128, 128, 44]


def test_the_thread_ends_soon_after_the_last_lease_and_begins_with_the_next(make_heart, books):
    heart = make_heart()
    for name in ("first", "second"):
        heart.add(name, awake_s())
        assert beating(heart)
        heart.drop(name)
        until(lambda: not beating(heart))
    assert not heart.keeps("first")


def test_a_thread_with_nothing_to_renew_stays_for_the_next_lease(make_heart, books):
    heart = make_heart(lease_ms=60_000)
    heart.add("first", awake_s())
    thread = heart._thread
    until(lambda: heart._wakes_s > 0)
    first_s = heart._wakes_s
    heart.drop("first")
    with heart._changed:
        heart._changed.notify()
    until(lambda: heart._wakes_s != first_s)
    heart.add("second", awake_s())
    assert heart._thread is thread
    assert beating(heart)


def test_a_lease_that_ends_before_the_thread_meant_to_look_is_renewed(make_heart, books):
    heart = make_heart(lease_ms=60_000)
    heart.add("fresh", awake_s())
    until(lambda: heart._wakes_s > 0)
    heart.add("old", awake_s() - 30)
    until(lambda: books.batches)
    assert books.batches[0] == ["old"]


def test_who_lost_a_slot_by_the_word_of_the_store_is_told_once(make_heart, books):
    told = []
    books.answer = lambda hold_id: Outcome.LOST if hold_id == "lost" else Outcome.EXTENDED
    heart = make_heart()
    kept = heart.add("kept", awake_s(), lambda: told.append("kept"))
    lost = heart.add("lost", awake_s(), lambda: told.append("lost"), strict=False)
    until(lambda: told)
    until(lambda: len(books.batches) > 4)
    assert told == ["lost"]
    assert lost.lost
    assert not kept.given_up
    assert heart.keeps("kept")
    assert not heart.keeps("lost")


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OSError("broken")], ids=repr)
def test_who_cannot_renew_in_time_is_told_before_the_lease_ends(make_heart, books, error):
    told = []
    books.fail(error)
    heart = make_heart(lease_ms=600)
    since = awake_s()
    beat = heart.add("h", since, lambda: told.append(awake_s()))
    until(lambda: told)
    assert told[0] - since > 0.4, "it was tried again as long as there was time"
    assert beat.lost
    assert not heart.keeps("h")


def test_who_may_go_on_while_the_store_is_away_is_not_told(make_heart, books):
    told = []
    books.fail(StoreUnavailable("away"))
    heart = make_heart()
    beat = heart.add("h", awake_s(), lambda: told.append(1), strict=False)
    until(lambda: len(books.batches) > 12)
    assert not told
    assert not beat.lost
    books.answer = lambda hold_id: Outcome.EXTENDED
    count = len(books.batches)
    until(lambda: len(books.batches) > count)
    assert heart.keeps("h")


def test_an_outage_shorter_than_the_lease_loses_nothing(make_heart, books):
    books.fail(StoreUnavailable("away"))
    heart = make_heart(lease_ms=12_000)
    since = awake_s() - 4.1
    beat = heart.add("h", since)
    until(lambda: books.batches)
    books.answer = lambda hold_id: Outcome.EXTENDED
    until(lambda: beat.renewed_s > since)
    assert not beat.lost


def test_a_holder_that_cannot_be_told_does_not_stop_the_heart(make_heart, books):
    def broken() -> None:
        raise ValueError

    books.answer = lambda hold_id: Outcome.LOST if hold_id == "lost" else Outcome.EXTENDED
    heart = make_heart()
    heart.add("lost", awake_s(), broken)
    heart.add("kept", awake_s())
    until(lambda: sum("kept" in batch for batch in books.batches) > 3)


def test_a_holder_knows_by_itself_that_it_slept(make_heart):
    """Before anybody else could tell it: its heart is not what wakes first."""
    heart = make_heart(lease_ms=600_000)
    asleep = heart.add("h", awake_s() - 600)
    assert asleep.lost
    assert not heart.add("i", awake_s() - 599).lost
    assert not heart.add("j", awake_s() - 9999, strict=False).lost


def test_the_clock_of_leases_goes_on_while_the_machine_sleeps():
    """CLOCK_MONOTONIC stands still in suspend on Linux, so that a slot would seem one's own in the morning."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(awake_s() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


def test_a_closed_heart_renews_nothing(make_heart, books):
    heart = make_heart()
    heart.add("h", awake_s())
    heart.close()
    until(lambda: not beating(heart))
    count = len(books.batches)
    beat = heart.add("i", awake_s())
    until(lambda: beat.lost)
    assert len(books.batches) == count
