"""Values that are recorded later, by the background thread: a scope with many calls must not pay for them as it closes.

Recording one value costs 7 us with an SDK. A scope of a thousand calls would hold up its thread, which may be that
of an event loop, for 7 ms.
"""

from __future__ import annotations

import atexit
import math
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram

    from costscope.telemetry.attributes import Attributes
    from costscope.telemetry.durations import Durations

__all__ = ["BACKLOG_MAX", "Backlog", "record_durations"]

BACKLOG_MAX: Final = 1024
"""Rows that may wait; the oldest ones are dropped where the background thread cannot keep up."""

_EXIT_S: Final = 1.0


class Backlog:
    """Durations that wait to be recorded. Never blocks, from whatever thread."""

    def __init__(self) -> None:
        # A deque: a finalizer may close a scope in the middle of anything that a drain does.
        self._waiting: deque[tuple[Histogram, Attributes, Durations]] = deque(maxlen=BACKLOG_MAX)
        self._watched = False
        _backlogs.add(self)

    def put(self, histogram: Histogram, attributes: Attributes, durations: Durations) -> None:
        """Keep them for the next drain."""
        if not self._watched:
            self._watched = True
            # Registered this late, it runs before what the SDK registered when its provider was made: the last export.
            atexit.unregister(_drain_at_exit)
            atexit.register(_drain_at_exit)
        self._waiting.append((histogram, attributes, durations))

    def drain(self, timeout: float = math.inf) -> None:
        """Record what waits, for `timeout` seconds at most."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                histogram, attributes, durations = self._waiting.popleft()
            except IndexError:
                return
            record_durations(histogram, attributes, durations, until)

    def forget(self) -> None:
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


_backlogs: WeakSet[Backlog] = WeakSet()


def _drain_at_exit() -> None:
    for backlog in list(_backlogs):
        backlog.drain(_EXIT_S)


def _after_fork() -> None:
    for backlog in list(_backlogs):
        backlog.forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
