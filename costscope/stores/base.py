"""What a store is: a batch of commands in, a batch of replies out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.ledger import AuditReport, Command, LostHold, Reply, Snapshot
    from costscope.stores.coordination.operations import Answer, Op


@runtime_checkable
class Store(Protocol):
    """The books of one ledger, in memory or on a server.

    `execute` and `aexecute` are the whole surface a metered call meets. Every command is answered, in order, and
    each is applied whole or not at all. A store may split a long batch (Valkey: after 256 commands), so nothing
    relies on two commands standing side by side.

    Raises (all of them):
        StoreUnavailable: the books could not be reached in time. The commands may or may not have been applied;
            repeating them with the same ids is safe.
    """

    @property
    def url(self) -> str:
        """Where the books are, without a password."""
        ...

    @property
    def waits(self) -> bool:
        """True when `execute` may wait for I/O, so that an event loop must use `aexecute`."""
        ...

    @property
    def keep_ms(self) -> int:
        """How long settled holds are to be remembered for repeats: longer than any client goes on retrying."""
        ...

    def execute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch; the replies are in the order of the commands."""
        ...

    async def aexecute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch without holding up an event loop."""
        ...

    def tell(self, ops: Sequence[Op]) -> list[Answer]:
        """Put something on the board that the processes of a ledger share, or look there; in order."""
        ...

    async def atell(self, ops: Sequence[Op]) -> list[Answer]:
        """Do as `tell` without holding up an event loop."""
        ...

    def on_lost(self, listener: Callable[[Sequence[LostHold]], object]) -> Callable[[], None]:
        """Call this with the holds that this object finds past their deadline, each once over all processes.

        It is called in the thread that finds them and must not wait. What is returned ends that.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Return all accounts and live holds at one instant, for reports and audits."""
        ...

    def audit(self) -> AuditReport:
        """Prove the conservation equations over the whole ledger."""
        ...

    def close(self) -> None:
        """Give back connections; what waits to be sent is not lost, it belongs to the runtime's outbox."""
        ...

    async def aclose(self) -> None:
        """Close for an event loop, which also gives back what belongs to this loop."""
        ...


log = logging.getLogger("costscope")


class LostListeners:
    """The callbacks of one store. Single steps of a dict, so it takes no lock."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[Sequence[LostHold]], object]] = {}

    def add(self, listener: Callable[[Sequence[LostHold]], object]) -> Callable[[], None]:
        """Tell this one from now on; what is returned ends that."""
        key = object()
        self._listeners[key] = listener

        def remove() -> None:
            self._listeners.pop(key, None)

        return remove

    def tell(self, lost: Sequence[LostHold]) -> None:
        """Tell every listener of holds that are presumed lost. What a listener raises is logged: the books are right in any case."""
        for listener in tuple(self._listeners.values()):
            try:
                listener(lost)
            except Exception:
                log.exception("telling of %d lost holds failed", len(lost))
