"""How long to wait before something is tried again."""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tenacity import RetryCallState

_DOUBLINGS_MAX: Final = 32
_random: Final = SystemRandom()


class Backoff:
    """Pauses of random length, whose bound doubles: for `wait=` of tenacity.

    Tenacity's own draws from the module `random`, in threads that a user's program knows nothing of: one that was
    seeded to be repeatable would not be. The system's numbers have no state, and so differ after a fork as well.

    Args:
        first_s: bound of the first pause, in seconds.
        longest_s: bound of all.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s

    def __call__(self, state: RetryCallState) -> float:
        """Seconds to wait after the attempt that has just failed."""
        doublings = min(state.attempt_number - 1, _DOUBLINGS_MAX)
        return _random.uniform(0.0, min(self._longest_s, self._first_s * 2.0**doublings))
