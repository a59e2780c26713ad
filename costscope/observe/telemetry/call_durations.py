"""How long the calls of one row took: exactly while they are few, by bucket once they are many.

OpenTelemetry takes one value at a time and no counts of buckets, so the values have to be kept until the scope
closes. A scope that stays open for weeks keeps a bounded number of them: beyond that only how many fell into each
bucket of the histogram, and their sum. Recording the mean of a bucket as often as it was hit gives the same histogram.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final

from costscope.background.worker import register, run_exit_hook_before_others
from costscope.observe.telemetry.metrics import CALL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Histogram

    from costscope.observe.telemetry.attributes import Attributes


KEPT_MAX: Final = 256
"""Values kept as they are."""


class Durations:
    """Seconds of any number of calls. Used by one thread at a time; `fold` keeps its memory bounded."""

    __slots__ = ("_sums", "values")

    def __init__(self) -> None:
        self.values: list[float] = []
        """Where a call's seconds are appended."""
        self._sums: dict[int, tuple[int, float]] = {}

    def fold(self) -> None:
        """Add many values up by bucket; call it every few hundred values."""
        if len(self.values) <= KEPT_MAX:
            return
        values, self.values = sorted(self.values), []
        begin = 0
        for bucket, most in enumerate((*CALL_SECONDS, math.inf)):
            end = bisect_right(values, most, begin)
            if end > begin:
                self._count(bucket, end - begin, math.fsum(values[begin:end]))
            begin = end

    def merge(self, other: Durations) -> None:
        """Count the calls of another one as well."""
        for bucket, (times, total) in other._sums.items():
            self._count(bucket, times, total)
        self.values += other.values
        self.fold()

    def __len__(self) -> int:
        return len(self.values) + sum(times for times, _ in self._sums.values())

    def parts(self) -> list[tuple[float, int]]:
        """Return `(seconds, how many times)`, of as many calls as were counted."""
        folded = [
            (_within(bucket, total / times), times) for bucket, (times, total) in sorted(self._sums.items())
        ]
        return [(value, 1) for value in self.values] + folded

    def _count(self, bucket: int, times: int, total: float) -> None:
        before = self._sums.get(bucket, (0, 0.0))
        self._sums[bucket] = (before[0] + times, before[1] + total)


def _within(bucket: int, mean: float) -> float:
    """Return the mean, kept from being rounded over the rim of its bucket."""
    return min(mean, CALL_SECONDS[bucket]) if bucket < len(CALL_SECONDS) else mean


BACKLOG_MAX: Final = 1024
"""Rows that may wait; the oldest ones are dropped where the background thread cannot keep up."""


class Backlog:
    """Durations that are recorded later, by the background thread. Never blocks, in any thread.

    Recording one value costs 7 us with an SDK: a scope of a thousand calls would hold up its thread, which may be that
    of an event loop, for 7 ms as it closes.

    Args:
        record_others: records what else waits, at each drain.
    """

    def __init__(self, record_others: Callable[[], object]) -> None:
        self._record_others = record_others
        # A deque: a finalizer may close a scope in the middle of anything that a drain does.
        self._waiting: deque[tuple[Histogram, Attributes, Durations]] = deque(maxlen=BACKLOG_MAX)
        self._watched = False
        register(self, "metrics")

    def put(self, histogram: Histogram, attributes: Attributes, durations: Durations) -> None:
        """Keep them for the next drain."""
        self.expect()
        self._waiting.append((histogram, attributes, durations))

    def expect(self) -> None:
        """Be drained before the last export, which the SDK registers as its provider is made."""
        if not self._watched:
            self._watched = True
            run_exit_hook_before_others()

    def drain(self, timeout: float = math.inf) -> None:
        """Record what waits, for `timeout` seconds at most."""
        self._record_others()
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                histogram, attributes, durations = self._waiting.popleft()
            except IndexError:
                return
            record_durations(histogram, attributes, durations, until)

    def close(self, timeout_s: float) -> None:
        """Drain, at the end of the process."""
        self.drain(timeout_s)

    def restart_in_child(self) -> None:
        """Drop what waits: after a fork the parent records it."""
        self._waiting.clear()


def record_durations(
    histogram: Histogram, attributes: Attributes, durations: Durations, until: float = math.inf
) -> None:
    """Record each value as often as it was counted, up to an instant of the monotonic clock."""
    for seconds, times in durations.parts():
        for _ in range(times):
            if time.monotonic() >= until:
                return
            histogram.record(seconds, attributes)
