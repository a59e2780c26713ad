"""The ledger in the memory of this process."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from costscope.errors import StoreMisconfigured
from costscope.ledger import Ledger, audit
from costscope.stores import LostListeners
from costscope.stores.coordination.board_state import Board

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.ledger import AuditReport, Command, LostHold, Reply, Snapshot
    from costscope.stores.coordination.operations import Answer, Op


class MemoryStore:
    """Books for one process, gone when it ends.

    Args:
        clock: gives the time in ns since the epoch; a test passes one it moves by hand.
    """

    waits: Final = False
    keep_ms: Final = 0  # no reply is ever lost on the way, so no command is ever repeated

    def __init__(self, *, clock: Callable[[], int] | None = None) -> None:
        self.url = "memory://"
        self._ledger = Ledger()
        self._execute = self._ledger.execute
        self._board = Board()
        self._lost = self._ledger.lost
        self._listeners = LostListeners()
        self._lock = Lock()
        self._clock_ns = clock or time_ns

    def execute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch under the lock; nothing here waits for I/O."""
        with self._lock:
            replies = self._execute(commands, self._clock_ns() // 1_000_000)
        if self._lost:
            self._tell_lost()
        return replies

    async def aexecute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch: microseconds, so an event loop is not held up."""
        return self.execute(commands)

    def tell(self, ops: Sequence[Op]) -> list[Answer]:
        """Apply operations of the board under the same lock."""
        with self._lock:
            now_ms, apply = self._clock_ns() // 1_000_000, self._board.apply
            return [apply(op, now_ms) for op in ops]

    async def atell(self, ops: Sequence[Op]) -> list[Answer]:
        """Do as `tell` without holding up an event loop."""
        return self.tell(ops)

    def on_lost(self, listener: Callable[[Sequence[LostHold]], object]) -> Callable[[], None]:
        """Call this with the holds whose lease has run out."""
        return self._listeners.add(listener)

    def snapshot(self) -> Snapshot:
        """Return everything that stands in the books now."""
        with self._lock:
            now_ms = self._clock_ns() // 1_000_000
            self._board.collect(now_ms)
            self._ledger.sweep(now_ms)
            found = self._ledger.snapshot(now_ms)
        self._tell_lost()
        return found

    def audit(self) -> AuditReport:
        """Prove the conservation equations over the whole ledger."""
        return audit(self.snapshot())

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _tell_lost(self) -> None:
        found = []
        with suppress(IndexError):  # another thread may take some of them
            while True:
                found.append(self._lost.popleft())
        if found:
            self._listeners.tell(found)


def open_url(url: str) -> MemoryStore:
    """Open `memory://`, a new store; two of them share nothing."""
    if urlsplit(url)[1:] != ("", "", "", ""):
        msg = f"{url!r}: a memory store has no address, path or options; write 'memory://'"
        raise StoreMisconfigured(msg)
    return MemoryStore()
