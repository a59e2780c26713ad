"""Waiting for a refusal to end: first come, first served per account, bounded, woken by settlements nearby."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from costscope.ledger import new_id
from costscope.policy.durations import to_ms
from costscope.stores.steps import Pause, Wake

if TYPE_CHECKING:
    from costscope.policy.controls import OnDenied
    from costscope.runtime.runtime import Runtime
    from costscope.stores.steps import Steps

__all__ = ["Patience"]

_FIRST_S: Final = 0.02
_LONGEST_S: Final = 0.25
_HONOURED_MS: Final = 2000
"""How long the place in the queue is kept for whoever does not ask again: eight of the longest pauses."""


class Patience:
    """One caller's place in the queues of the accounts that refuse it, from the first refusal to the last attempt."""

    def __init__(self, runtime: Runtime, timeout_s: float) -> None:
        self.ticket = new_id(runtime.now_ms())
        self.wait_ms = _HONOURED_MS
        self._runtime = runtime
        self._until_s = monotonic() + timeout_s
        self._pause_s = _FIRST_S
        self._wake = Wake()
        runtime.waiting.add(self._wake)

    @classmethod
    def of(cls, runtime: Runtime, on_denied: OnDenied) -> Self | None:
        """A place for a call that is to wait; None for one that is not."""
        if on_denied.do != "wait":
            return None
        return cls(runtime, to_ms(on_denied.timeout, what="timeout") / 1000)

    def wait(self) -> Steps[bool]:
        """Pause before another attempt; False when there is no time for one."""
        left_s = self._until_s - monotonic()
        if left_s <= 0:
            return False
        yield Pause(min(self._pause_s, left_s), self._wake)
        self._pause_s = min(self._pause_s * 2, _LONGEST_S)
        return True

    def over(self) -> None:
        """Nobody waits any more."""
        self._runtime.waiting.discard(self._wake)
