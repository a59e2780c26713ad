"""How long a reservation and its settlement take, measured at the store."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from costscope.ledger import Commit, Reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.ledger import AuditReport, Command, LostHold, Reply, Snapshot
    from costscope.stores import Store
    from costscope.stores.coordination import Answer, Op

__all__ = ["TimedStore", "percentile_us"]


_CALLS: Final = frozenset({"model_calls", "tool_calls"})
"""What the hold of a call counts; those of runs and turns do not."""


class TimedStore:
    """A store that notes, for each metered call, the time of its reserve plus the time of its commit.

    Both are measured around `aexecute`: from handing the command over until the reply is back in the caller's
    task, waiting for a shared batch and for the event loop included. The provider's time lies between the two
    and is in neither.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.url = store.url
        self.waits = store.waits
        self.keep_ms = store.keep_ms
        self._reserved_ns: dict[str, int] = {}
        self._pairs_us: list[int] = []

    def take_pairs(self) -> list[int]:
        """Microseconds of each reserve+commit pair since the last time."""
        pairs, self._pairs_us = self._pairs_us, []
        return pairs

    async def aexecute(self, commands: Sequence[Command]) -> list[Reply]:
        """The store's, timed."""
        started = perf_counter_ns()
        replies = await self._store.aexecute(commands)
        took = perf_counter_ns() - started
        for command in commands:
            if isinstance(command, Reserve) and not _CALLS.isdisjoint(command.amounts):
                self._reserved_ns[command.id] = took
            elif isinstance(command, Commit) and command.id in self._reserved_ns:
                self._pairs_us.append((self._reserved_ns.pop(command.id) + took) // 1000)
        return replies

    def execute(self, commands: Sequence[Command]) -> list[Reply]:
        """The store's; the demo's agents are tasks, so this is the outbox and not measured."""
        return self._store.execute(commands)

    def tell(self, ops: Sequence[Op]) -> list[Answer]:
        """The store's."""
        return self._store.tell(ops)

    async def atell(self, ops: Sequence[Op]) -> list[Answer]:
        """The store's."""
        return await self._store.atell(ops)

    def on_lost(self, listener: Callable[[Sequence[LostHold]], object]) -> Callable[[], None]:
        """The store's."""
        return self._store.on_lost(listener)

    def snapshot(self) -> Snapshot:
        """The store's."""
        return self._store.snapshot()

    def audit(self) -> AuditReport:
        """The store's."""
        return self._store.audit()

    def close(self) -> None:
        """The store's."""
        self._store.close()

    async def aclose(self) -> None:
        """The store's."""
        await self._store.aclose()


def percentile_us(sorted_us: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile of sorted numbers; 0 of none."""
    if not sorted_us:
        return 0
    return sorted_us[max(0, -(-len(sorted_us) * percent // 100) - 1)]
