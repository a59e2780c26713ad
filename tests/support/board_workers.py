"""What other processes do with a board: here, where a spawned interpreter finds it wherever the suite was started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.board import AckDeliveries, LeaseDeliveries, Pace, Publish, RecordCall
from costscope.stores import open_store

if TYPE_CHECKING:
    from multiprocessing import Queue
    from multiprocessing.synchronize import Barrier

__all__ = ["HOUR_MS", "fail", "pace", "publish", "take", "take_and_die"]

HOUR_MS = 3_600_000


def publish(url: str, barrier: Barrier, results: Queue[list[bool]], name: str) -> None:
    """Publish the same 50 things as the other processes; which of them were new."""
    store = open_store(url)
    barrier.wait(30)
    ops = [Publish(f"{name}-{at}", f"{name}", f"acct#{at}", HOUR_MS) for at in range(50)]
    results.put([answer is True for op in ops for answer in store.tell([op])])
    store.close()


def take(url: str, barrier: Barrier, results: Queue[list[tuple[str, int]]], lease_ms: int) -> None:
    """Take deliveries until there are none left; acknowledge every second one."""
    store = open_store(url)
    barrier.wait(30)
    taken = []
    while (some := store.tell([LeaseDeliveries(lease_ms, 3)])[0]) != []:
        assert isinstance(some, list)
        taken += [(one.id, one.attempt) for one in some]
        store.tell([AckDeliveries(tuple(one.id for one in some[1:]))])
    results.put(taken)
    store.close()


def take_and_die(url: str) -> None:
    """Take what is due for a moment, and acknowledge nothing."""
    store = open_store(url)
    assert len(store.tell([LeaseDeliveries(1)])[0]) > 0
    store.close()


def pace(url: str, barrier: Barrier, results: Queue[list[int]]) -> None:
    """Take five places in a line that moves once an hour."""
    store = open_store(url)
    barrier.wait(30)
    results.put([store.tell([Pace("line", HOUR_MS, 100 * HOUR_MS)])[0] for _ in range(5)])
    store.close()


def fail(url: str, barrier: Barrier, results: Queue[list[tuple[int, int]]]) -> None:
    """Note five failures of the same call in one run."""
    store = open_store(url)
    barrier.wait(30)
    noted = [store.tell([RecordCall("run", "same", True, HOUR_MS)])[0] for _ in range(5)]
    results.put([(one.failures, one.repeats) for one in noted])
    store.close()
