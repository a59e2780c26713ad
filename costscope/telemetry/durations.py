"""How long the calls of one row took: exactly while they are few, by bucket once they are many.

OpenTelemetry takes one value at a time and no counts of buckets, so the values have to be kept until the scope
closes. A scope that stays open for weeks keeps a bounded number of them: beyond that only how many fell into each
bucket of the histogram, and their sum. Recording the mean of a bucket as often as it was hit gives the same histogram.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Final

from costscope.telemetry.metrics import CALL_SECONDS

__all__ = ["KEPT_MAX", "Durations"]

KEPT_MAX: Final = 256
"""Values kept as they are."""


class Durations:
    """Seconds of any number of calls. Used by one thread at a time; `settle` keeps its memory bounded."""

    __slots__ = ("_sums", "values")

    def __init__(self) -> None:
        self.values: list[float] = []
        """Where a call's seconds are appended."""
        self._sums: dict[int, tuple[int, float]] = {}

    def settle(self) -> None:
        """Pour many values into their buckets; call it every few hundred values."""
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
        self.settle()

    def __len__(self) -> int:
        return len(self.values) + sum(times for times, _ in self._sums.values())

    def parts(self) -> list[tuple[float, int]]:
        """`(seconds, how many times)`, of as many calls as were counted."""
        poured = [
            (_within(bucket, total / times), times) for bucket, (times, total) in sorted(self._sums.items())
        ]
        return [(value, 1) for value in self.values] + poured

    def _count(self, bucket: int, times: int, total: float) -> None:
        before = self._sums.get(bucket, (0, 0.0))
        self._sums[bucket] = (before[0] + times, before[1] + total)


def _within(bucket: int, mean: float) -> float:
    """The mean, kept from being rounded over the rim of its bucket."""
    return min(mean, CALL_SECONDS[bucket]) if bucket < len(CALL_SECONDS) else mean
