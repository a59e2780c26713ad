"""When a run seems out of control: failures in a row, the same call again and again, cost that speeds up.

Every detector compares a run with itself, so there is nothing to tune for a workload. Each says something once per
run; the first process to say it claims it for all (`costscope.engine.run.runaway_actions`).

The numbers are those of `costscope.board`: of all processes of the run where they share a store, else of this one.
"""

from __future__ import annotations

from collections import deque
from threading import Lock, RLock
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakValueDictionary

import msgspec

from costscope.engine.control.effects import NOTHING, Effects
from costscope.policy.model.actions import any_paces
from costscope.stores.coordination.run_stats import RunStats

if TYPE_CHECKING:
    from costscope.policy.model.controls import Runaway
    from costscope.stores.coordination.operations import CallCounts


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
        """Return how many times its baseline the run has spent throughout the stretch; None while it is too early to say."""
        points = self._points
        points.append(now)
        while _apart(points[1], now):
            points.popleft()
        then = points[0]
        if not _apart(then, now) or then[0] < BASELINE_MS or then[2] < CALLS_MIN or not then[1]:
            return None
        return min(self._rates(then, now)) / _rate(_START, then)

    def _rates(self, then: Point, now: Point) -> list[float]:
        """Return the rate of each part of the stretch."""
        found, last = [], then
        for part in range(1, _PARTS + 1):
            until_ms = then[0] + (now[0] - then[0]) * part / _PARTS
            point = next(point for point in self._points if point[0] >= until_ms)
            found.append(_rate(last, point))
            last = point
        return found


def _apart(then: Point, now: Point) -> bool:
    """Return True if a whole stretch lies between."""
    return now[0] - then[0] >= RECENT_MS and now[2] - then[2] >= CALLS_MIN


def _rate(then: Point, now: Point) -> float:
    """Cost per ms; 0 where no time lies between."""
    return (now[1] - then[1]) / (now[0] - then[0]) if now[0] > then[0] else 0.0


Reason = Literal["failures", "burn_rate", "repeats"]

REPEATS_AMONG: Final = 32
"""The last calls of a run among which repetitions are counted: a loop repeats itself soon, and an hour of work on
similar things is none. In a production hour of a coding service no prompt length came up more than 8 times in 32."""


class Suspicion(msgspec.Struct, frozen=True):
    """Why a run seems out of control."""

    reason: Reason
    measured: float
    allowed: float

    @property
    def detail(self) -> str:
        """For people."""
        if self.reason == "failures":
            return f"{self.measured:.0f} calls failed one after the other (allowed below {self.allowed:.0f})"
        if self.reason == "repeats":
            return f"the same call was made {self.measured:.0f} times within {REPEATS_AMONG} calls (allowed below {self.allowed:.0f})"
        return f"its cost per minute has been {self.measured:.1f} times its baseline for minutes (allowed {self.allowed:g})"


class Detector:
    """What one run did. Used by every thread that works in it.

    Args:
        rule: what counts as out of control.
        shared: other processes may work in the run, and the board knows of all; what this process knows is a hint.
    """

    def __init__(self, rule: Runaway, *, shared: bool = False) -> None:
        self.rule = rule
        self.brakes = any_paces(rule.actions)
        """It may pace the calls of the run, and wants to know what they use."""
        self.shared = shared
        self._lock = (
            RLock()
        )  # a finalizer may settle a call in the middle of another settlement of its thread
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know nothing."""
        self.effects: Effects = NOTHING
        """What a runaway has put in force for the rest of the run."""
        self._own = RunStats()
        self._calls = 0
        self._claimed: set[str] = set()
        self._burn = BurnRate()
        self._look_ms = SLICE_MS

    def on_settled(self, digest: int, cost: int, now_ms: int, *, failed: bool | None) -> Suspicion | None:
        """Count a call of this process that has ended; return what that says, in a shared run as far as one process knows.

        Args:
            digest: of its name and arguments; 0: not to be counted as a repetition.
            cost: what it cost, in nano-units (or any other unit that stays the same).
            now_ms: by a clock that only goes forward.
            failed: it raised; None if it was given up for a reason outside of it.
        """
        with self._lock:
            own, found = self._own, None
            repeats = own.count_call(digest, failed, cost, now_ms)
            if own.failures or repeats > 1:
                found = self._count_reports(own.failures, repeats)
            if found is None and own.active_ms >= self._look_ms and not self.shared:
                return self._burnt((own.active_ms, own.cost, own.calls))
            return found

    def on_board_answer(self, answer: CallCounts) -> Suspicion | None:
        """Take the board's answer to a note of the run: what all processes together say."""
        with self._lock:
            if answer.calls < self._calls:
                self.begin_anew()  # the run was reset, or it was silent for a day
            self._calls = answer.calls
            found = self._count_reports(answer.failures, answer.repeats)
            if found is None and answer.active_ms >= self._look_ms:
                return self._burnt((answer.active_ms, answer.cost, answer.calls))
            return found

    def claim(self, reason: str) -> bool:
        """Claim this reason, unless this process has claimed it already; it is never suspected again."""
        with self._lock:
            news = reason not in self._claimed
            self._claimed.add(reason)
            return news

    def _count_reports(self, failures: int, repeats: int) -> Suspicion | None:
        rule = self.rule
        if failures >= rule.failures and rule.failures and "failures" not in self._claimed:
            return Suspicion("failures", failures, rule.failures)
        if repeats >= rule.repeats and rule.repeats and "repeats" not in self._claimed:
            return Suspicion("repeats", repeats, rule.repeats)
        return None

    def _burnt(self, now: Point) -> Suspicion | None:
        self._look_ms = now[0] + SLICE_MS
        times, allowed = self._burn.look(now), self.rule.burn_rate
        if times is None or not 0 < allowed < times or "burn_rate" in self._claimed:
            return None
        return Suspicion("burn_rate", times, allowed)


class Detectors:
    """The detectors of one runtime, one for each run, however many scopes work in it."""

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._lock = Lock()
        self._detectors: WeakValueDictionary[str, Detector] = WeakValueDictionary()

    def of(self, key: str, rule: Runaway) -> Detector:
        """Return the detector of the run whose account has this key; it keeps the rule that it began with."""
        with self._lock:
            found = self._detectors.get(key)
            if found is None:
                found = self._detectors[key] = Detector(rule, shared=self._shared)
            return found
