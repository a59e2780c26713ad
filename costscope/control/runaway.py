"""When a run seems out of control: failures in a row, the same call again and again, cost that speeds up.

Every detector compares a run with itself, so there is nothing to tune for a workload. Each says something once per
run; the first process to say it claims it for all (`costscope.run.lifecycle`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from costscope.policy.controls import Runaway

__all__ = ["BASELINE_S", "RECENT_S", "REPEATS_AMONG", "Detector", "Suspicion"]

REPEATS_AMONG: Final = 32
"""The last calls of a run among which repetitions are counted: a loop repeats itself soon, and an hour of work on
similar things is none. In a production hour of a coding service no prompt length came up more than 6 times in 32."""

RECENT_S: Final = 300.0
"""The stretch whose cost per minute is compared."""

BASELINE_S: Final = 900.0
"""What a run must have done before that: from its start to the beginning of the recent stretch."""

SLICE_S: Final = 10.0
"""Costs are summed in slices this long."""

_CALLS_MIN: Final = 20
"""Calls that each of the two must have: a rate made of a few calls is chance."""


class Suspicion(msgspec.Struct, frozen=True):
    """Why a run seems out of control."""

    reason: Literal["failures", "burn_rate", "repeats"]
    measured: float
    allowed: float

    @property
    def detail(self) -> str:
        """For people."""
        if self.reason == "failures":
            return f"{self.measured:.0f} calls failed one after the other (allowed below {self.allowed:.0f})"
        if self.reason == "repeats":
            return f"the same call was made {self.measured:.0f} times within {REPEATS_AMONG} calls (allowed below {self.allowed:.0f})"
        return f"cost per minute is {self.measured:.1f} times the run's baseline (allowed {self.allowed:g})"


class Detector:
    """What one run did, as far as this process knows."""

    def __init__(self, rule: Runaway) -> None:
        self.rule = rule
        self._failures = 0
        self._last: deque[int] = deque(maxlen=REPEATS_AMONG)
        self._told: set[str] = set()
        self._slices: deque[tuple[float, int, int]] = deque()
        """Recent ones: when each began, its cost, its calls."""
        self._before = [0, 0]
        """Cost and calls of all slices before these."""
        self._began_s: float | None = None

    def settled(self, digest: int, cost: int, now_s: float, *, failed: bool) -> Suspicion | None:
        """A call of the run has ended.

        Args:
            digest: of its name and arguments; 0: not to be counted as a repetition.
            cost: what it cost, in nano-units (or any other unit that stays the same).
            now_s: by a clock that only goes forward.
            failed: it raised.
        """
        self._failures = self._failures + 1 if failed else 0
        repeats = 0
        if digest and self.rule.repeats:
            self._last.append(digest)
            repeats = self._last.count(digest)
        found = self.seen(self._failures, repeats)
        return self._burnt(cost, now_s) or found if self.rule.burn_rate else found

    def seen(self, failures: int, repeats: int) -> Suspicion | None:
        """What these counts say, which may come from all processes of the run."""
        rule = self.rule
        if rule.failures and failures >= rule.failures:
            return self._once(Suspicion("failures", failures, rule.failures))
        if rule.repeats and repeats >= rule.repeats:
            return self._once(Suspicion("repeats", repeats, rule.repeats))
        return None

    def _burnt(self, cost: int, now_s: float) -> Suspicion | None:
        if self._began_s is None:
            self._began_s = now_s
        slices = self._slices
        if slices and now_s - slices[-1][0] < SLICE_S:
            began_s, so_far, calls = slices[-1]
            slices[-1] = (began_s, so_far + cost, calls + 1)
            return None  # looked at when the next slice begins
        while slices and now_s - slices[0][0] > RECENT_S:
            _, gone, calls = slices.popleft()
            self._before[0] += gone
            self._before[1] += calls
        found = self._compared(now_s)
        slices.append((now_s, cost, 1))
        return found

    def _compared(self, now_s: float) -> Suspicion | None:
        assert self._began_s is not None, "set by the first call"
        baseline_s = now_s - RECENT_S - self._began_s
        cost, calls = sum(c for _, c, _ in self._slices), sum(n for _, _, n in self._slices)
        if (
            baseline_s < BASELINE_S
            or calls < _CALLS_MIN
            or self._before[1] < _CALLS_MIN
            or not self._before[0]
        ):
            return None
        times = (cost / RECENT_S) / (self._before[0] / baseline_s)
        if times <= self.rule.burn_rate:
            return None
        return self._once(Suspicion("burn_rate", times, self.rule.burn_rate))

    def _once(self, suspicion: Suspicion) -> Suspicion | None:
        if suspicion.reason in self._told:
            return None
        self._told.add(suspicion.reason)
        return suspicion
