"""What the calls of a name usually use, for pacing: what a strict hold reserves is many times that."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from costscope.pricing.usage.usage_fields import Usage


_WEIGHT: Final = 8
"""A new call moves the average by an eighth of its difference."""

_NAMES_MAX: Final = 1024


class CallAverages:
    """A moving average per name and meter. Lost updates between threads only make it slower."""

    def __init__(self) -> None:
        self._averages: dict[tuple[str, str], int] = {}

    def record_call(self, name: str, cost: int, usage: Usage | None) -> None:
        """Count a call of this name that has ended."""
        self._move((name, "cost"), cost)
        if usage is not None:
            self._move((name, "tokens"), usage.tokens)
            self._move((name, "input_tokens"), usage.input_tokens)
            self._move((name, "output_tokens"), usage.output_tokens)

    def of(self, name: str, meter: str) -> int:
        """Return what such a call uses of a meter, rounded up; 0 while nothing is known."""
        return self._averages.get((name, meter), 0)

    def _move(self, what: tuple[str, str], amount: int) -> None:
        if len(self._averages) >= _NAMES_MAX:
            self._averages.clear()
        average = self._averages.get(what)
        self._averages[what] = amount if average is None else average - (average - amount) // _WEIGHT


LAST: Final = 32
"""Calls that are looked at, the latest ones."""

LEAST: Final = 8
"""Fewer say nothing."""

RECENT_S: Final = 300.0
"""Older ones count no more: a model that no call was sent to for five minutes gets another chance."""

MODELS_MAX: Final = 1024


class ModelHealth:
    """The last calls of each model. Appending is atomic, so that it takes no lock."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[tuple[float, float, bool]]] = {}

    def record_call(self, model: str, at_s: float, seconds: float, *, failed: bool) -> None:
        """Count a call of this model that has ended at `at_s` of any clock that only goes forward."""
        calls = self._calls.get(model)
        if calls is None:
            if len(self._calls) >= MODELS_MAX:
                self._calls.clear()
            calls = self._calls.setdefault(model, deque(maxlen=LAST))
        calls.append((at_s, seconds, failed))

    def latency_s(self, model: str, now_s: float) -> float | None:
        """Return the 90th percentile of the recent calls' seconds; None while there are too few."""
        recent = sorted(seconds for _, seconds, _ in self._recent(model, now_s))
        return recent[(len(recent) * 9 - 1) // 10] if recent else None

    def error_percent(self, model: str, now_s: float) -> float | None:
        """Return how many of the recent calls failed, in percent; None while there are too few."""
        recent = self._recent(model, now_s)
        return 100 * sum(failed for *_, failed in recent) / len(recent) if recent else None

    def _recent(self, model: str, now_s: float) -> list[tuple[float, float, bool]]:
        calls = self._calls.get(model, ())
        recent = [call for call in list(calls) if now_s - call[0] <= RECENT_S]
        return recent if len(recent) >= LEAST else []
