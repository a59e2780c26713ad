"""What has happened once, by group."""

from __future__ import annotations

from typing import Literal

from costscope.board.expiring import Expiring
from costscope.board.limits import place_key

__all__ = ["Kind", "Marks"]

Kind = Literal["first", "once"]
"""`First` and `Publish.once` do not see each other's keys."""


class Marks:
    """Texts under keys `group#what`, each for its time."""

    __slots__ = ("_groups", "_marks")

    def __init__(self) -> None:
        self._marks: Expiring[tuple[Kind, str, str], str] = Expiring()
        self._groups: dict[str, set[tuple[Kind, str, str]]] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def find(self, kind: Kind, key: str, now_ms: int) -> str | None:
        """What stands under a key."""
        self.collect(now_ms)
        entry = self._marks.get((kind, *place_key(key)))
        return None if entry is None else entry.value

    def put(self, kind: Kind, key: str, value: str, until_ms: int) -> None:
        """Put something under a key that has nothing yet."""
        group, rest = place_key(key)
        self._groups.setdefault(group, set()).add((kind, group, rest))
        self._marks.put((kind, group, rest), value, until_ms)

    def forget(self, group: str, now_ms: int) -> int:
        """Drop every key that begins with `group#`; how many there were."""
        self.collect(now_ms)
        head, rest = place_key(group)
        found = [mark for mark in self._groups.get(head, ()) if mark[2].startswith(rest + "#")]
        for mark in found:
            self._marks.remove(mark)
            self._leave(mark)
        return len(found)

    def collect(self, now_ms: int) -> None:
        """Drop what is over."""
        for mark in self._marks.collect(now_ms):
            self._leave(mark)

    def _leave(self, mark: tuple[Kind, str, str]) -> None:
        members = self._groups.get(mark[1], set())
        members.discard(mark)
        if not members:
            self._groups.pop(mark[1], None)
