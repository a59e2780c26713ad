"""A store that a test takes away and brings back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from costscope.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from costscope.ledger import AuditReport, Command, LostHold, Reply, Snapshot
    from costscope.stores import Store
    from costscope.stores.coordination.operations import Answer, Op


class OutageStore:
    """Another store, which does not answer while `away()` is open.

    The error comes at once, where a real outage would take the store's time-out.

    Args:
        inner: the store that keeps the books.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.url = inner.url
        self.waits = inner.waits
        self.keep_ms = inner.keep_ms
        self._away = False
        self._applies = False

    @property
    def is_away(self) -> bool:
        """True inside a block of `away`."""
        return self._away

    @contextmanager
    def away(self, *, applies: bool = False) -> Iterator[None]:
        """Let every batch fail until the end of the block with `StoreUnavailable`.

        Args:
            applies: the batch reaches the books, and only its replies are lost. Of a real outage no one knows
                which of the two it was.
        """
        before = self._away, self._applies
        self._away, self._applies = True, applies
        try:
            yield
        finally:
            self._away, self._applies = before

    def execute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch, if the store is there."""
        with self._outage():
            return self.inner.execute(commands)

    async def aexecute(self, commands: Sequence[Command]) -> list[Reply]:
        """Do the same for an event loop."""
        with self._outage():
            return await self.inner.aexecute(commands)

    def tell(self, ops: Sequence[Op]) -> list[Answer]:
        """Apply operations of the board, if the store is there."""
        with self._outage():
            return self.inner.tell(ops)

    async def atell(self, ops: Sequence[Op]) -> list[Answer]:
        """Do the same for an event loop."""
        with self._outage():
            return await self.inner.atell(ops)

    def on_lost(self, listener: Callable[[Sequence[LostHold]], object]) -> Callable[[], None]:
        """Pass this on to the store inside."""
        return self.inner.on_lost(listener)

    def snapshot(self) -> Snapshot:
        """Read what stands in the books, outage or not: a test may look behind it."""
        return self.inner.snapshot()

    def audit(self) -> AuditReport:
        """Prove the conservation equations, outage or not."""
        return self.inner.audit()

    def close(self) -> None:
        """Close the store inside."""
        self.inner.close()

    async def aclose(self) -> None:
        """Close the store inside."""
        await self.inner.aclose()

    @contextmanager
    def _outage(self) -> Iterator[None]:
        """Fail before a batch, or after it where it is applied all the same."""
        msg = f"{self.url} is away: this is an outage made by a test"
        if self._away and not self._applies:
            raise StoreUnavailable(msg)
        yield
        if self._away:
            raise StoreUnavailable(msg)
