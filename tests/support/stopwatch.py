"""A clock that leaves out the time for which this process was kept from running, for bounds that hold on a busy machine."""

from __future__ import annotations

import threading
import time

__all__ = ["Stopwatch"]

_TICK_S = 0.005
_LONGEST_S = 120.0


class Stopwatch:
    """It runs from the moment it is made.

    A thread sleeps for a moment again and again; by how much it oversleeps was the machine's doing. A machine that has
    nothing else to do takes off next to nothing.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._stalled_s = 0.0
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def read(self) -> float:
        """Seconds so far in which this process could run, to be asked for once."""
        took_s = time.monotonic() - self._began_s
        self._stopped.set()
        self._thread.join()  # it has seen the last stall by then
        return took_s - self._stalled_s

    def _tick(self) -> None:
        at_s, stopped = self._began_s, False
        while not stopped and at_s < self._began_s + _LONGEST_S:
            stopped = self._stopped.wait(_TICK_S)
            now_s = time.monotonic()
            self._stalled_s += max(now_s - at_s - _TICK_S, 0)
            at_s = now_s
