"""Several processes and one board: what happened once is told once, and nobody takes what another has."""

from __future__ import annotations

import multiprocessing

import pytest
from board_workers import HOUR_MS, fail, pace, publish, take, take_and_die

from costscope.board import AckDeliveries, LeaseDeliveries, Publish, ReadEvents
from costscope.stores import open_store

PROCESSES = 4


@pytest.fixture
def url(valkey_url) -> str:
    """With time-outs that no busy machine exceeds."""
    return valkey_url + "&connect_timeout_ms=10000&operation_timeout_ms=20000&total_timeout_ms=40000"


@pytest.fixture
def store(url):
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture
def together(url):
    """Runs a worker in four processes that begin at the same moment; what each of them put into the queue."""
    context = multiprocessing.get_context("spawn")

    def run(worker, *others):
        barrier, results = context.Barrier(PROCESSES), context.Queue()
        workers = [
            context.Process(target=worker, args=(url, barrier, results, *[give(at) for give in others]))
            for at in range(PROCESSES)
        ]
        for one in workers:
            one.start()
        found = [results.get(timeout=60) for _ in workers]
        for one in workers:
            one.join(30)
            assert one.exitcode == 0
        return found

    return run


def test_of_four_that_publish_the_same_exactly_one_does(together, store):
    found = together(publish, lambda at: f"process {at}")
    assert [sum(new) for new in zip(*found, strict=True)] == [1] * 50
    assert len(store.tell([ReadEvents(2000)])[0]) == 50


def test_a_delivery_is_leased_to_one_of_four_and_comes_again_unless_acknowledged(together, store, url):
    ids = [f"e{at}:ops" for at in range(60)]
    store.tell([Publish(f"e{at}", "{}", deliver=("ops",)) for at in range(60)])
    taken = [one for some in together(take, lambda _: HOUR_MS) for one in some]
    assert sorted(name for name, _ in taken) == sorted(ids)
    assert {attempt for _, attempt in taken} == {1}
    assert store.tell([LeaseDeliveries(HOUR_MS, 256)]) == [[]], "their lease has not run out"
    acknowledged = 60 - store.tell([AckDeliveries(tuple(ids))])[0]
    assert 0 < acknowledged < 60, "each of them left the first of a batch"


def test_what_a_process_took_and_never_acknowledged_comes_again(store, url):
    store.tell([Publish(f"e{at}", "{}", deliver=("ops",)) for at in range(3)])
    for _ in range(2):
        dying = multiprocessing.get_context("spawn").Process(target=take_and_die, args=(url,))
        dying.start()
        dying.join(60)
        assert dying.exitcode == 0
    (again,) = store.tell([LeaseDeliveries(HOUR_MS)])
    assert [(one.id, one.attempt) for one in again] == [(f"e{at}:ops", 3) for at in range(3)]


def test_four_that_share_a_line_are_spaced_out(together):
    waits = sorted(wait for some in together(pace) for wait in some)
    assert [round(wait / HOUR_MS) for wait in waits] == list(range(20))


def test_failures_in_a_row_are_counted_whichever_process_they_are_in(together):
    noted = [one for some in together(fail) for one in some]
    assert sorted(noted) == [(at, at) for at in range(1, 21)]
