"""A mapping whose entries go when their time is over. Knows no clock: the time is told."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Entry", "Expiring"]

K = TypeVar("K")
V = TypeVar("V")

_GARBAGE_MAX: Final = 64
"""Turns that belong to nothing any more, beyond as many as there are entries."""


class Entry(Generic[V]):
    """A value and how long it stands. `until_ms` may be moved forward, not back."""

    __slots__ = ("until_ms", "value")

    def __init__(self, value: V, until_ms: int) -> None:
        self.value = value
        self.until_ms = until_ms


class Expiring(Generic[K, V]):
    """Entries by key. Whoever looks calls `collect` first; then what is found is not over."""

    __slots__ = ("_entries", "_turn", "_turns")

    def __init__(self) -> None:
        self._entries: dict[K, Entry[V]] = {}
        self._turns: list[tuple[int, int, K, Entry[V]]] = []
        """When to look at an entry again, the soonest first; an entry that was prolonged then gets another turn."""
        self._turn = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> Entry[V] | None:
        """The entry, or None."""
        return self._entries.get(key)

    def put(self, key: K, value: V, until_ms: int) -> Entry[V]:
        """Make an entry, in place of the one that was there."""
        entry = self._entries[key] = Entry(value, until_ms)
        self._queue(key, entry)
        if len(self._turns) > 2 * len(self._entries) + _GARBAGE_MAX:
            self._turns = [turn for turn in self._turns if self._entries.get(turn[2]) is turn[3]]
            heapify(self._turns)
        return entry

    def remove(self, key: K) -> bool:
        """Take an entry out before its time; whether there was one."""
        return self._entries.pop(key, None) is not None

    def collect(self, now_ms: int) -> Sequence[K]:
        """Forget what is over; the keys."""
        if not self._turns or self._turns[0][0] > now_ms:
            return ()
        gone: list[K] = []
        while self._turns and self._turns[0][0] <= now_ms:
            _, _, key, entry = heappop(self._turns)
            if self._entries.get(key) is not entry:
                continue
            if entry.until_ms <= now_ms:
                del self._entries[key]
                gone.append(key)
            else:
                self._queue(key, entry)
        return gone

    def _queue(self, key: K, entry: Entry[V]) -> None:
        self._turn += 1
        heappush(self._turns, (entry.until_ms, self._turn, key, entry))
