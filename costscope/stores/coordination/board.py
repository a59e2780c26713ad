"""A whole board in Python objects: what the memory store keeps, and what other stores are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from costscope.stores.coordination.deliveries import Deliveries
from costscope.stores.coordination.event_log import Stream
from costscope.stores.coordination.expiring import Expiring
from costscope.stores.coordination.limits import TAKE_MAX, kept_ms, place_key
from costscope.stores.coordination.ops import Ack, First, Forget, Note, Pace, Publish, Recent, Take
from costscope.stores.coordination.run_stats import RunNotes

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.coordination.ops import Answer, Delivery, Noted, Op, Published


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


class Board:
    """Operations in, answers out. No lock, no clock, no I/O; what is over is dropped when something is asked.

    Bounded: a key goes when its time is over, the stream keeps at most 2,000
    records, and at most 100,000 deliveries wait.
    """

    def __init__(self) -> None:
        self._marks = Marks()
        self._notes: Expiring[str, RunNotes] = Expiring()
        self._paces: Expiring[str, None] = Expiring()
        """The time of the next place in a line is the time until which its entry stands."""
        self._stream = Stream()
        self._deliveries = Deliveries()
        self._verbs: dict[type[Op], Callable[..., Answer]] = {
            First: self._first,
            Forget: self._forget,
            Note: self._note,
            Pace: self._pace,
            Publish: self._publish,
            Recent: self._recent,
            Take: self._take,
            Ack: self._ack,
        }

    def apply(self, op: Op, now_ms: int) -> Answer:
        """Apply one operation.

        Args:
            op: see `costscope.stores.coordination.ops`.
            now_ms: the store's time, in ms since the epoch.

        Raises:
            InvalidInput: `Recent.after` is no place in the stream.
        """
        return self._verbs[type(op)](op, now_ms)

    def collect(self, now_ms: int) -> None:
        """Drop everything whose time is over, also what nobody asks for any more."""
        self._marks.collect(now_ms)
        self._notes.collect(now_ms)
        self._paces.collect(now_ms)
        self._stream.collect(now_ms)
        self._deliveries.collect(now_ms)

    def _first(self, op: First, now_ms: int) -> str:
        found = self._marks.find("first", op.key, now_ms)
        if found is None:
            found = op.value or str(now_ms)
            self._marks.put("first", op.key, found, now_ms + kept_ms(op.keep_ms))
        return found

    def _forget(self, op: Forget, now_ms: int) -> int:
        self._notes.collect(now_ms)
        self._paces.collect(now_ms)
        return (
            self._marks.forget(op.group, now_ms) + self._notes.remove(op.group) + self._paces.remove(op.group)
        )

    def _note(self, op: Note, now_ms: int) -> Noted:
        notes = self._notes
        notes.collect(now_ms)
        until_ms = now_ms + kept_ms(op.keep_ms)
        entry = notes.get(op.run)
        if entry is None:
            entry = notes.put(op.run, RunNotes(), until_ms)
        elif until_ms > entry.until_ms:
            entry.until_ms = until_ms
        return entry.value.note(op, now_ms)

    def _pace(self, op: Pace, now_ms: int) -> int:
        self._paces.collect(now_ms)
        entry = self._paces.get(op.group)
        goes_ms = now_ms if entry is None else entry.until_ms
        wait_ms = goes_ms - now_ms
        if wait_ms > kept_ms(op.patience_ms):
            return -1
        next_ms = goes_ms + kept_ms(op.interval_ms)
        if entry is not None:
            entry.until_ms = max(entry.until_ms, next_ms)
        elif next_ms > now_ms:
            self._paces.put(op.group, None, next_ms)
        return wait_ms

    def _publish(self, op: Publish, now_ms: int) -> bool:
        if self._stream.has(op.id, now_ms) or (
            op.once and self._marks.find("once", op.once, now_ms) is not None
        ):
            return False
        self._stream.append(op.id, op.record, now_ms)
        if op.once:
            self._marks.put("once", op.once, op.id, now_ms + kept_ms(op.once_ms))
        if op.deliver:
            self._deliveries.put(op.id, op.record, op.deliver, now_ms)
        return True

    def _recent(self, op: Recent, now_ms: int) -> list[Published]:
        return self._stream.recent(op.count, op.after, now_ms)

    def _take(self, op: Take, now_ms: int) -> list[Delivery]:
        return self._deliveries.take(max(0, min(op.count, TAKE_MAX)), kept_ms(op.lease_ms), now_ms)

    def _ack(self, op: Ack, now_ms: int) -> int:
        return self._deliveries.drop(op.ids, now_ms)
