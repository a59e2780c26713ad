"""Settlements that could not be sent at once: kept in order, repeated with the same ids, never dropped silently.

A commit ends up here when the store is away, when its task was cancelled, or when an abandoned stream is
collected by the garbage collector, which must not do I/O. A daemon thread sends them; at the end of the process
they are drained within a bounded time.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from tenacity import Retrying, retry_if_exception_type, stop_when_event_set, wait_random_exponential

from costscope.errors import CostscopeError, OutboxFull, StoreUnavailable
from costscope.scope.context import in_empty_context

if TYPE_CHECKING:
    from costscope.ledger import Commit, Release
    from costscope.stores.base import Store

__all__ = ["OUTBOX_MAX", "Outbox"]

OUTBOX_MAX: Final = 10_000
"""Settlements that may wait. Each is well under 1 kB, so a full outbox is under 10 MB."""

_BATCH: Final = 128
_DRAIN_S: Final = 2.0

log = logging.getLogger("costscope")


class Outbox:
    """The settlements of one runtime that wait for its store."""

    def __init__(self, store: Store, *, limit: int = OUTBOX_MAX) -> None:
        self._store = store
        self._limit = limit
        self._waiting: deque[Commit | Release] = deque()
        self.full = False
        """True when no further settlement would find room: calls are refused before it comes to that."""
        # A finalizer may put something in while its own thread is inside this class, so nothing here holds a
        # lock that `put` needs: deque and Event are enough.
        self._filled = threading.Event()
        self._empty = threading.Event()
        self._empty.set()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        _outboxes.add(self)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, command: Commit | Release) -> None:
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
        self._empty.clear()
        self._waiting.append(command)
        self.full = len(self._waiting) >= self._limit
        self._filled.set()
        self._start()

    def drain(self, timeout_s: float = _DRAIN_S) -> bool:
        """Wait until everything has been sent, at most `timeout_s`; say whether it has."""
        if not self._waiting and self._empty.is_set():
            return True
        self._start()
        return self._empty.wait(timeout_s)

    def close(self, timeout_s: float = _DRAIN_S) -> None:
        """Drain, then stop the thread; what is still waiting is reported as lost, with its ids."""
        drained = self.drain(timeout_s)
        self._closing.set()
        self._filled.set()
        if not drained:
            log.error(
                "%d settlements could not be sent to %s; their holds will be presumed spent: %s",
                len(self._waiting),
                self._store.url,
                ", ".join(command.id for command in list(self._waiting)[:20]),
            )

    def _start(self) -> None:
        thread = self._thread
        if thread is not None and thread.is_alive() and self._pid == os.getpid():
            return
        if self._pid != os.getpid():  # the parent sends what the parent's calls cost
            self._pid = os.getpid()
            self._waiting.clear()
            self._empty.set()
        if self._closing.is_set():
            return
        self._thread = threading.Thread(target=in_empty_context(self._run), name="costscope-outbox", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._filled.wait()
            self._filled.clear()
            while self._waiting and not self._closing.is_set():
                self._send([self._waiting[at] for at in range(min(_BATCH, len(self._waiting)))])
            if not self._waiting:
                self._empty.set()
                if self._waiting:  # put between the look and the set
                    self._empty.clear()
                    self._filled.set()

    def _send(self, batch: list[Commit | Release]) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(StoreUnavailable),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
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
        self._closing.wait(seconds)


_outboxes: weakref.WeakSet[Outbox] = weakref.WeakSet()


def _drain_at_exit() -> None:
    deadline = time.monotonic() + _DRAIN_S
    for outbox in list(_outboxes):
        outbox.close(max(0.0, deadline - time.monotonic()))


atexit.register(_drain_at_exit)
