"""The last records that were published, in order."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from operator import itemgetter

from costscope.stores.coordination.limits import IDS_MAX, RECENT_MAX, RECORDS_MIN, STREAM_KEEP_MS, place_of
from costscope.stores.coordination.ops import Published

__all__ = ["Stream"]


class Stream:
    """Between 1,000 and 2,000 records, and the ids of the last 1,000."""

    __slots__ = ("_ids", "_last", "_records")

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._records: list[tuple[tuple[int, int], str]] = []
        self._last = (0, 0)

    def __len__(self) -> int:
        return len(self._records)

    def has(self, record_id: str, now_ms: int) -> bool:
        """Whether one of the last 1,000 had this id."""
        self.collect(now_ms)
        return record_id in self._ids

    def append(self, record_id: str, record: str, now_ms: int) -> None:
        """Put a record at the end."""
        # as a Valkey stream counts: ms and a number within them, and never back when the clock is set back
        ms, number = self._last
        self._last = (now_ms, 0) if now_ms > ms else (ms, number + 1)
        if len(self._records) >= 2 * RECORDS_MIN:
            del self._records[:RECORDS_MIN]
        self._records.append((self._last, record))
        self._ids[record_id] = None
        if len(self._ids) > IDS_MAX:
            self._ids.popitem(last=False)

    def recent(self, count: int, after: str, now_ms: int) -> list[Published]:
        """The last `count` of those behind `after`.

        Raises:
            InvalidInput: `after` is no place.
        """
        self.collect(now_ms)
        start = bisect_right(self._records, place_of(after), key=itemgetter(0)) if after else 0
        start = max(start, len(self._records) - max(0, min(count, RECENT_MAX)))
        return [Published(f"{ms}-{number}", record) for (ms, number), record in self._records[start:]]

    def collect(self, now_ms: int) -> None:
        """Drop everything, once nothing was published for long enough."""
        if self._records and self._last[0] + STREAM_KEEP_MS <= now_ms:
            self._ids.clear()
            self._records.clear()
