"""What this process spent and holds in a scope that has no account of its own."""

from __future__ import annotations

from threading import Lock

__all__ = ["Tally"]


class Tally:
    """Cost of the calls in a scope and in those nested in it, in nano-units, by this process only."""

    __slots__ = ("_lock", "held", "spent")

    def __init__(self) -> None:
        self._lock = Lock()  # `+=` on an attribute loses updates between threads
        self.spent = 0
        self.held = 0

    def hold(self, amount: int) -> None:
        """A reservation was granted."""
        with self._lock:
            self.held += amount

    def settle(self, amount: int, actual: int) -> None:
        """A reservation of `amount` was settled with `actual`."""
        with self._lock:
            self.held -= amount
            self.spent += actual
