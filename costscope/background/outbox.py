"""Settlements that could not be sent at once: kept in order, repeated with the same ids, never dropped silently.

A commit ends up here when the store is away, when its task was cancelled, or when an abandoned stream is
collected by the garbage collector, which must not do I/O. A worker sends them; at the end of the process they are
drained within a bounded time.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from costscope.background.worker import CLOSING_S, Worker, register, send_until_taken
from costscope.errors import CostscopeError, OutboxFull

if TYPE_CHECKING:
    from costscope.ledger import Commit, Release, Reserve
    from costscope.stores.base import Store

OUTBOX_MAX: Final = 10_000
"""Settlements that may wait. Each is well under 1 kB, so a full outbox is under 10 MB."""

_BATCH: Final = 128

log = logging.getLogger("costscope")


class Outbox:
    """The settlements of one runtime that wait for its store."""

    def __init__(self, store: Store, *, limit: int = OUTBOX_MAX) -> None:
        self._store = store
        self._limit = limit
        self.full = False
        """True when no further settlement would find room: calls are refused before it comes to that."""
        # A finalizer may call `put` in the middle of anything that its own thread is doing, so it takes no lock.
        self._waiting: deque[Commit | Release | Reserve] = deque()
        self._worker = Worker(self._send_all, "costscope-outbox")
        register(self, "outbox")

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, command: Commit | Release | Reserve) -> None:
        """Send this as soon as the store takes it. Does not wait.

        Raises:
            OutboxFull: the settlement is NOT kept; it belongs to the code that catches this.
        """
        if len(self._waiting) >= self._limit:
            msg = (
                f"{self._limit} settlements wait for {self._store.url}, which does not answer; this one "
                f"({command.id}) cannot be kept. Bring the store back, or stop the agents."
            )
            raise OutboxFull(msg)
        if self._worker.closing.is_set():
            self._report([command])
            return
        self._waiting.append(command)
        self.full = len(self._waiting) >= self._limit
        self._worker.wake()

    def drain(self, timeout_s: float = CLOSING_S) -> bool:
        """Wait until everything has been sent, at most `timeout_s`; say whether it has."""
        return not self._waiting or self._worker.drain(timeout_s)

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """Drain, then end the thread; what is still waiting is reported as lost, with its ids."""
        if self._worker.closing.is_set():
            return
        self._worker.close(self.drain, timeout_s)
        if self._waiting:
            self._report(list(self._waiting))

    def restart_in_child(self) -> None:
        """Start empty after a fork: the parent sends what the parent's calls cost."""
        self._waiting = deque()
        self.full = False
        self._worker.restart_in_child()

    def _report(self, lost: list[Commit | Release | Reserve]) -> None:
        log.error(
            "%d settlements could not be sent to %s; what they hold counts as spent after its lease: %s",
            len(lost),
            self._store.url,
            ", ".join(command.id for command in lost[:20]),
        )

    def _send_all(self) -> None:
        while self._waiting and not self._worker.stopping:
            batch = [self._waiting[at] for at in range(min(_BATCH, len(self._waiting)))]
            try:
                if not send_until_taken(self._worker, self._store.execute, batch):
                    return  # what could not be sent stays, and `close` reports it
            except CostscopeError:
                log.exception(
                    "the store refused %d settlements for good: %s", len(batch), [c.id for c in batch]
                )
            for _ in batch:
                self._waiting.popleft()
            self.full = len(self._waiting) >= self._limit
