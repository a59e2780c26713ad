"""Settlements that could not be sent at once: kept in order, repeated with the same ids, never dropped silently.

A commit ends up here when the store is away, when its task was cancelled, or when an abandoned stream is
collected by the garbage collector, which must not do I/O. A daemon thread sends them; at the end of the process
they are drained within a bounded time.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from costscope.context import in_empty_context
from costscope.errors import CostscopeError, OutboxFull, StoreUnavailable
from costscope.stores.backoff import Backoff

if TYPE_CHECKING:
    from costscope.ledger import Commit, Release, Reserve
    from costscope.stores.base import Store

__all__ = ["OUTBOX_MAX", "Outbox"]

OUTBOX_MAX: Final = 10_000
"""Settlements that may wait. Each is well under 1 kB, so a full outbox is under 10 MB."""

_BATCH: Final = 128
_DRAIN_S: Final = 2.0
_IDLE_S: Final = 5.0
"""After this long without a settlement the thread ends, so that a forgotten runtime leaves none behind."""

log = logging.getLogger("costscope")


class Outbox:
    """The settlements of one runtime that wait for its store."""

    def __init__(self, store: Store, *, limit: int = OUTBOX_MAX) -> None:
        self._store = store
        self._limit = limit
        self.full = False
        """True when no further settlement would find room: calls are refused before it comes to that."""
        # A finalizer may call `put` in the middle of anything that its own thread is doing, here or in an Event.
        # So `put` takes no lock: a deque and a SimpleQueue are made for that.
        self._waiting: deque[Commit | Release | Reserve] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._drains: deque[threading.Event] = deque()
        self._sending = threading.Lock()  # of the one thread that sends
        self._closing = threading.Event()
        self._hurry = threading.Event()
        """Somebody waits until everything is sent: the next attempt comes now."""
        _outboxes.add(self)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, command: Commit | Release | Reserve) -> None:
        """Send this as soon as the store takes it. Does not wait.

        Raises:
            OutboxFull: the settlement is NOT kept; it belongs to whoever catches this.
        """
        if len(self._waiting) >= self._limit:
            msg = (
                f"{self._limit} settlements wait for {self._store.url}, which does not answer; this one "
                f"({command.id}) cannot be kept. Bring the store back, or stop the agents."
            )
            raise OutboxFull(msg)
        if self._closing.is_set():
            self._report([command])
            return
        self._waiting.append(command)
        self.full = len(self._waiting) >= self._limit
        self._wake.put(None)
        self._start()

    def drain(self, timeout_s: float = _DRAIN_S) -> bool:
        """Wait until everything has been sent, at most `timeout_s`; say whether it has."""
        if not self._waiting:
            return True
        if self._closing.is_set():
            return False
        drained = threading.Event()
        self._drains.append(drained)
        self._hurry.set()
        self._wake.put(None)
        self._start()
        return drained.wait(timeout_s)

    def close(self, timeout_s: float = _DRAIN_S) -> None:
        """Drain, then stop the thread; what is still waiting is reported as lost, with its ids."""
        if self._closing.is_set():
            return
        drained = self.drain(timeout_s)
        self._closing.set()
        self._hurry.set()
        self._wake.put(None)
        if not drained:
            self._report(list(self._waiting))

    def restart_in_child(self) -> None:
        """Start empty after a fork: the parent sends what the parent's calls cost."""
        self._waiting = deque()
        self.full = False
        self._wake = SimpleQueue()
        self._drains = deque()
        self._sending = threading.Lock()
        self._hurry = threading.Event()
        closed, self._closing = self._closing.is_set(), threading.Event()
        if closed:
            self._closing.set()

    def _report(self, lost: list[Commit | Release | Reserve]) -> None:
        log.error(
            "%d settlements could not be sent to %s; what they hold counts as spent after its lease: %s",
            len(lost),
            self._store.url,
            ", ".join(command.id for command in lost[:20]),
        )

    def _start(self) -> None:
        if self._sending.locked() or self._closing.is_set():
            return
        _drain_when_worker_ends()
        # Two may be started at once; the second one finds the first sending, and ends.
        threading.Thread(target=in_empty_context(self._run), name="costscope-outbox", daemon=True).start()

    def _run(self) -> None:
        if not self._sending.acquire(blocking=False):
            return
        try:
            while self._woken() and not self._closing.is_set():
                while self._waiting and not self._closing.is_set():
                    self._send([self._waiting[at] for at in range(min(_BATCH, len(self._waiting)))])
                while self._drains and not self._waiting:
                    self._drains.popleft().set()
        finally:
            self._sending.release()
        if self._waiting or self._drains:  # put while this thread was ending
            self._start()

    def _woken(self) -> bool:
        try:
            self._wake.get(timeout=_IDLE_S)
        except Empty:
            return False
        return True

    def _send(self, batch: list[Commit | Release | Reserve]) -> None:
        # Imported when there is something to send again: most processes never have.
        from tenacity import Retrying, retry_if_exception_type, stop_when_event_set  # noqa: PLC0415

        retrying = Retrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=Backoff(0.05, 2.0),
            stop=stop_when_event_set(self._closing),
            sleep=self._pause,
            reraise=True,
        )
        try:
            retrying(self._store.execute, batch)
        except StoreUnavailable:
            return  # closing: what could not be sent stays, and `close` reports it
        except CostscopeError:
            log.exception("the store refused %d settlements for good: %s", len(batch), [c.id for c in batch])
        for _ in batch:
            self._waiting.popleft()
        self.full = len(self._waiting) >= self._limit

    def _pause(self, seconds: float) -> None:
        self._hurry.wait(seconds)
        self._hurry.clear()


_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()
_workers_watched: set[int] = set()


def _drain_at_exit() -> None:
    deadline = time.monotonic() + _DRAIN_S
    for outbox in list(_outboxes):
        outbox.close(max(0.0, deadline - time.monotonic()))


def _drain_when_worker_ends() -> None:
    """A forked worker of multiprocessing leaves without `atexit`, but runs its own finalizers."""
    workers = sys.modules.get("multiprocessing.util")
    if workers is not None and os.getpid() not in _workers_watched:
        _workers_watched.add(os.getpid())
        workers.Finalize(None, _drain_at_exit, exitpriority=0)


def _after_fork() -> None:
    for outbox in list(_outboxes):
        outbox.restart_in_child()


atexit.register(_drain_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
