"""What a run did last, and what it cost so far, for the detection of runaways."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from costscope.ledger import MAX_AMOUNT
from costscope.stores.coordination.operations import DIGESTS_MAX, PAUSE_MAX_MS, CallCounts

if TYPE_CHECKING:
    from costscope.stores.coordination.operations import RecordCall


class RunStats:
    """The failures of one run without a success between them, its last 32 digests, and its cost over time."""

    __slots__ = ("_digests", "_times", "active_ms", "at_ms", "calls", "cost", "failures", "flags")

    def __init__(self) -> None:
        self.failures = 0
        self.calls = 0
        self.cost = 0
        self.active_ms = 0
        self.at_ms = -1
        """When the last call was recorded; -1 before the first one."""
        self.flags = ""
        self._digests: deque[str | int] = deque()
        self._times: dict[str | int, int] = {}
        """How often each of them is there: counting them anew takes as long as all the rest."""

    def record(self, op: RecordCall, now_ms: int) -> CallCounts:
        """Put up the flag of an operation and count its call."""
        if op.flag and op.flag not in self.flags.split(" "):
            self.flags = f"{self.flags} {op.flag}" if self.flags else op.flag
        repeats = self.count_call(op.digest, op.failed, op.cost, now_ms) if op.counts else 0
        return CallCounts(self.failures, repeats, self.calls, self.cost, self.active_ms, self.flags)

    def count_call(self, digest: str | int, failed: bool | None, cost: int, now_ms: int) -> int:
        """Count one call, and return how often its digest is there now: 0 for no digest (empty, or 0)."""
        if failed is not None:
            self.failures = self.failures + 1 if failed else 0
        self.calls += 1
        self.cost = min(self.cost + cost, MAX_AMOUNT)
        at_ms = self.at_ms
        if at_ms < now_ms:
            if at_ms >= 0:
                self.active_ms += min(now_ms - at_ms, PAUSE_MAX_MS)
            self.at_ms = now_ms
        if not digest:
            return 0
        times, digests = self._times, self._digests
        # Before all else: an interrupt in between counts once too often, not too seldom.
        found = times[digest] = times.get(digest, 0) + 1
        digests.append(digest)
        if len(digests) <= DIGESTS_MAX:
            return found
        oldest = digests.popleft()
        left = times[oldest] - 1
        if left:
            times[oldest] = left
        else:
            del times[oldest]
        return times[digest]
