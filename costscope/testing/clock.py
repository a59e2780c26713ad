"""A clock that a test moves by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


class ManualClock:
    """Tells the time in ns since the epoch, as `time.time_ns` does, and stands still until it is moved.

    Give the same clock to a runtime and to its memory store: `MemoryStore(clock=clock)` and
    `Runtime(store=..., clock=clock)`; `costscope.testing.runtime` does both.

    Args:
        start: where it starts; by default noon on 1 January 2026, UTC.

    Raises:
        ValueError: `start` has no time zone.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._now_ns = _nanoseconds(start)

    def __call__(self) -> int:
        """Nanoseconds since the epoch."""
        return self._now_ns

    @property
    def now(self) -> datetime:
        """The time it shows, in UTC, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self._now_ns // 1000)

    def advance(self, seconds: float | timedelta) -> None:
        """Move forward; a negative value is a clock that was set back."""
        if isinstance(seconds, timedelta):
            self._now_ns += _as_ns(seconds)
        else:
            self._now_ns += round(seconds * 1e9)

    def set(self, when: datetime) -> None:
        """Move to a moment.

        Raises:
            ValueError: it has no time zone.
        """
        self._now_ns = _nanoseconds(when)

    def __repr__(self) -> str:
        return f"<ManualClock {self.now.isoformat()}>"


def _nanoseconds(when: datetime) -> int:
    if when.utcoffset() is None:
        msg = f"{when!r} has no time zone, so it is no moment; write datetime(..., tzinfo=UTC)"
        raise ValueError(msg)
    return _as_ns(when - _EPOCH)


def _as_ns(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1000
