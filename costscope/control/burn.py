"""How fast a run spends, beside how fast it did before.

A single dear call is no rate, and bursts are normal work: what counts is a rate that lasts, through each third of the
last minutes. With these lengths no run suspects itself that is cut from one production hour of a service for writing
code (`costscope.cli.trace`), which `tests/control/test_runaway_trace.py` replays.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["BASELINE_MS", "CALLS_MIN", "RECENT_MS", "SLICE_MS", "BurnRate", "Point"]

RECENT_MS: Final = 450_000
"""The least stretch whose cost per minute is compared."""

CALLS_MIN: Final = 20
"""The stretch goes back until it has so many calls."""

BASELINE_MS: Final = 900_000
"""What a run must have done before. Times are of activity, in which a long pause counts as a minute."""

SLICE_MS: Final = 10_000
"""The cost is to be looked at once in such a while."""

_PARTS: Final = 3

Point = tuple[int, int, int]
"""How long the run had been active (ms), what it had cost, how many calls it had made."""

_START: Final[Point] = (0, 0, 0)


class BurnRate:
    """The last minutes of one run, and the mean of all before."""

    __slots__ = ("_points",)

    def __init__(self) -> None:
        self._points: deque[Point] = deque((_START,))
        """From the beginning of the stretch that ends now."""

    def look(self, now: Point) -> float | None:
        """How many times its baseline the run has spent throughout the stretch; None while it is too early to say."""
        points = self._points
        points.append(now)
        while _apart(points[1], now):
            points.popleft()
        then = points[0]
        if not _apart(then, now) or then[0] < BASELINE_MS or then[2] < CALLS_MIN or not then[1]:
            return None
        return min(self._rates(then, now)) / _rate(_START, then)

    def _rates(self, then: Point, now: Point) -> list[float]:
        """Of each part of the stretch."""
        found, last = [], then
        for part in range(1, _PARTS + 1):
            until_ms = then[0] + (now[0] - then[0]) * part / _PARTS
            point = next(point for point in self._points if point[0] >= until_ms)
            found.append(_rate(last, point))
            last = point
        return found


def _apart(then: Point, now: Point) -> bool:
    """True if a whole stretch lies between."""
    return now[0] - then[0] >= RECENT_MS and now[2] - then[2] >= CALLS_MIN


def _rate(then: Point, now: Point) -> float:
    """Cost per ms; 0 where no time lies between."""
    return (now[1] - then[1]) / (now[0] - then[0]) if now[0] > then[0] else 0.0
