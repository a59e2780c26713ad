"""How the models have answered lately in this process: what the triggers `latency_above` and `error_rate_above` ask."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Health"]

LAST: Final = 32
"""Calls that are looked at, the latest ones."""

LEAST: Final = 8
"""Fewer say nothing."""

RECENT_S: Final = 300.0
"""Older ones count no more: a model that nobody was sent to for five minutes gets another chance."""

MODELS_MAX: Final = 1024


class Health:
    """The last calls of each model. Appending is atomic, so that it takes no lock."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[tuple[float, float, bool]]] = {}

    def saw(self, model: str, at_s: float, seconds: float, *, failed: bool) -> None:
        """A call of this model has ended at `at_s` of any clock that only goes forward."""
        calls = self._calls.get(model)
        if calls is None:
            if len(self._calls) >= MODELS_MAX:
                self._calls.clear()
            calls = self._calls.setdefault(model, deque(maxlen=LAST))
        calls.append((at_s, seconds, failed))

    def latency_s(self, model: str, now_s: float) -> float | None:
        """The 90th percentile of the recent calls' seconds; None while there are too few."""
        recent = sorted(seconds for _, seconds, _ in self._recent(model, now_s))
        return recent[(len(recent) * 9 - 1) // 10] if recent else None

    def error_percent(self, model: str, now_s: float) -> float | None:
        """How many of the recent calls failed, in percent; None while there are too few."""
        recent = self._recent(model, now_s)
        return 100 * sum(failed for *_, failed in recent) / len(recent) if recent else None

    def _recent(self, model: str, now_s: float) -> list[tuple[float, float, bool]]:
        calls = self._calls.get(model, ())
        recent = [call for call in list(calls) if now_s - call[0] <= RECENT_S]
        return recent if len(recent) >= LEAST else []
