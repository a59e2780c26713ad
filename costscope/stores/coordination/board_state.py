"""A whole board in Python objects: what the memory store keeps, and what other stores are compared with.

No lock, no clock, no I/O: the time is told with each operation, and what is over is dropped when something is asked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from costscope.errors import InvalidInput
from costscope.ledger.times import EVENTS_KEEP_MS, KEEP_MAX_MS
from costscope.stores.coordination.deliveries import Deliveries
from costscope.stores.coordination.operations import (
    EVENTS_MIN,
    IDS_MAX,
    LEASED_MAX,
    READ_MAX,
    AckDeliveries,
    Forget,
    LeaseDeliveries,
    Pace,
    Publish,
    Published,
    ReadEvents,
    RecordCall,
    SetOnce,
)
from costscope.stores.coordination.run_stats import RunStats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.stores.coordination.operations import Answer, CallCounts, Delivery, Op

K = TypeVar("K")
V = TypeVar("V")

MarkKind = Literal["set_once", "publish_once"]
"""`SetOnce` and `Publish.once` do not see each other's keys."""

_GARBAGE_MAX: Final = 64
"""Turns that belong to nothing any more, beyond as many as there are entries."""

_DIGITS_MAX: Final = 19
"""As many as always fit into the 64 bits of a stream's numbers."""


def kept_ms(span_ms: int) -> int:
    """Return a span as every store counts it, in ms."""
    return max(0, min(span_ms, KEEP_MAX_MS))


def place_key(key: str) -> tuple[str, str]:
    """Split a key into its group and what is behind it: `a#b#c` is `#b#c` in `a`; without a `#` nothing is behind."""
    group, sign, rest = key.partition("#")
    return group, sign + rest


def place_of(text: str) -> tuple[int, int]:
    """Read a place in the event log, to be compared with others.

    Raises:
        InvalidInput: it did not come from `Published.place`.
    """
    first, sign, second = text.partition("-")
    if not (sign and _is_number(first) and _is_number(second)):
        msg = f"{text[:80]!r} is no place in the stream; take one from `Published.place`, or '' for its start"
        raise InvalidInput(msg)
    return int(first), int(second)


def _is_number(text: str) -> bool:
    return len(text) <= _DIGITS_MAX and text.isascii() and text.isdigit()


@dataclass(slots=True, eq=False)
class Entry(Generic[V]):
    """A value and how long it stands. `until_ms` may be moved forward, not back."""

    value: V
    until_ms: int


class Expiring(Generic[K, V]):
    """Entries by key that go when their time is over. Call `collect` before a look; then what is found is not over."""

    __slots__ = ("_entries", "_turn", "_turns")

    def __init__(self) -> None:
        self._entries: dict[K, Entry[V]] = {}
        self._turns: list[tuple[int, int, K, Entry[V]]] = []
        """When to look at an entry again, the soonest first; an entry that was prolonged then gets another turn."""
        self._turn = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> Entry[V] | None:
        """Return the entry, or None."""
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
        """Take an entry out before its time, and say whether there was one."""
        return self._entries.pop(key, None) is not None

    def collect(self, now_ms: int) -> Sequence[K]:
        """Forget what is over, and return the keys."""
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


class Marks:
    """Texts under keys `group#what`, each for its time."""

    __slots__ = ("_groups", "_marks")

    def __init__(self) -> None:
        self._marks: Expiring[tuple[MarkKind, str, str], str] = Expiring()
        self._groups: dict[str, set[tuple[MarkKind, str, str]]] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def find(self, kind: MarkKind, key: str, now_ms: int) -> str | None:
        """Return what stands under a key."""
        self.collect(now_ms)
        entry = self._marks.get((kind, *place_key(key)))
        return None if entry is None else entry.value

    def put(self, kind: MarkKind, key: str, value: str, until_ms: int) -> None:
        """Put something under a key that has nothing yet."""
        group, rest = place_key(key)
        self._groups.setdefault(group, set()).add((kind, group, rest))
        self._marks.put((kind, group, rest), value, until_ms)

    def forget(self, group: str, now_ms: int) -> int:
        """Drop every key that begins with `group#`, and return how many there were."""
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

    def _leave(self, mark: tuple[MarkKind, str, str]) -> None:
        members = self._groups.get(mark[1], set())
        members.discard(mark)
        if not members:
            self._groups.pop(mark[1], None)


class EventLog:
    """The last records that were published, in order: between 1,000 and 2,000, and the ids of the last 1,000."""

    __slots__ = ("_ids", "_last", "_records")

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._records: list[tuple[tuple[int, int], str]] = []
        self._last = (0, 0)

    def __len__(self) -> int:
        return len(self._records)

    def has(self, record_id: str, now_ms: int) -> bool:
        """Say whether one of the last 1,000 had this id."""
        self.collect(now_ms)
        return record_id in self._ids

    def append(self, record_id: str, record: str, now_ms: int) -> None:
        """Put a record at the end."""
        # as a Valkey stream counts: ms and a number within them, and never back when the clock is set back
        ms, number = self._last
        self._last = (now_ms, 0) if now_ms > ms else (ms, number + 1)
        if len(self._records) >= 2 * EVENTS_MIN:
            del self._records[:EVENTS_MIN]
        self._records.append((self._last, record))
        self._ids[record_id] = None
        if len(self._ids) > IDS_MAX:
            self._ids.popitem(last=False)

    def read(self, count: int, after: str, now_ms: int) -> list[Published]:
        """Return the last `count` of those behind `after`.

        Raises:
            InvalidInput: `after` is no place.
        """
        self.collect(now_ms)
        start = bisect_right(self._records, place_of(after), key=itemgetter(0)) if after else 0
        start = max(start, len(self._records) - max(0, min(count, READ_MAX)))
        return [Published(f"{ms}-{number}", record) for (ms, number), record in self._records[start:]]

    def collect(self, now_ms: int) -> None:
        """Drop everything, once nothing was published for long enough."""
        if self._records and self._last[0] + EVENTS_KEEP_MS <= now_ms:
            self._ids.clear()
            self._records.clear()


class Board:
    """Operations in, answers out.

    Bounded: a key goes when its time is over, the event log keeps at most 2,000 records, and at most 100,000
    deliveries wait.
    """

    def __init__(self) -> None:
        self._marks = Marks()
        self._runs: Expiring[str, RunStats] = Expiring()
        self._paces: Expiring[str, None] = Expiring()
        """The time of the next place in a line is the time until which its entry stands."""
        self._log = EventLog()
        self._deliveries = Deliveries()
        self._verbs: dict[type[Op], Callable[..., Answer]] = {
            SetOnce: self._set_once,
            Forget: self._forget,
            RecordCall: self._record_call,
            Pace: self._pace,
            Publish: self._publish,
            ReadEvents: self._read_events,
            LeaseDeliveries: self._lease_deliveries,
            AckDeliveries: self._ack_deliveries,
        }

    def apply(self, op: Op, now_ms: int) -> Answer:
        """Apply one operation.

        Args:
            op: see `costscope.stores.coordination.operations`.
            now_ms: the store's time, in ms since the epoch.

        Raises:
            InvalidInput: `ReadEvents.after` is no place in the event log.
        """
        return self._verbs[type(op)](op, now_ms)

    def collect(self, now_ms: int) -> None:
        """Drop everything whose time is over, also what is never asked for again."""
        self._marks.collect(now_ms)
        self._runs.collect(now_ms)
        self._paces.collect(now_ms)
        self._log.collect(now_ms)
        self._deliveries.collect(now_ms)

    def _set_once(self, op: SetOnce, now_ms: int) -> str:
        found = self._marks.find("set_once", op.key, now_ms)
        if found is None:
            found = op.value or str(now_ms)
            self._marks.put("set_once", op.key, found, now_ms + kept_ms(op.keep_ms))
        return found

    def _forget(self, op: Forget, now_ms: int) -> int:
        self._runs.collect(now_ms)
        self._paces.collect(now_ms)
        return (
            self._marks.forget(op.group, now_ms) + self._runs.remove(op.group) + self._paces.remove(op.group)
        )

    def _record_call(self, op: RecordCall, now_ms: int) -> CallCounts:
        self._runs.collect(now_ms)
        until_ms = now_ms + kept_ms(op.keep_ms)
        entry = self._runs.get(op.run)
        if entry is None:
            entry = self._runs.put(op.run, RunStats(), until_ms)
        elif until_ms > entry.until_ms:
            entry.until_ms = until_ms
        return entry.value.record(op, now_ms)

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
        once = op.once
        if self._log.has(op.id, now_ms) or (
            once and self._marks.find("publish_once", once, now_ms) is not None
        ):
            return False
        self._log.append(op.id, op.record, now_ms)
        if once:
            self._marks.put("publish_once", once, op.id, now_ms + kept_ms(op.once_ms))
        if op.deliver:
            self._deliveries.put(op.id, op.record, op.deliver, now_ms)
        return True

    def _read_events(self, op: ReadEvents, now_ms: int) -> list[Published]:
        return self._log.read(op.count, op.after, now_ms)

    def _lease_deliveries(self, op: LeaseDeliveries, now_ms: int) -> list[Delivery]:
        return self._deliveries.lease(max(0, min(op.count, LEASED_MAX)), kept_ms(op.lease_ms), now_ms)

    def _ack_deliveries(self, op: AckDeliveries, now_ms: int) -> int:
        return self._deliveries.drop(op.ids, now_ms)
