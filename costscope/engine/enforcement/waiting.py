"""Waiting for a refusal to end: first come, first served per account, bounded, woken by settlements nearby."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from costscope.errors import DENIALS, OutboxFull
from costscope.ledger import Outcome, Release, Reserve, new_id
from costscope.policy.model.durations import to_ms
from costscope.stores.effects import Pause, Wake

if TYPE_CHECKING:
    from costscope.ledger import Account, Reply
    from costscope.policy.model.controls import OnDenied
    from costscope.scope.runtime import Runtime
    from costscope.stores.effects import Steps

__all__ = ["Patience"]

_FIRST_S: Final = 0.02
_LONGEST_S: Final = 0.25
_HONOURED_MS: Final = 2000
"""How long the place in the queue is kept for whoever does not ask again: eight of the longest pauses. So long those
behind a process that was killed are held up."""


class Patience:
    """One caller's place in the queues of the accounts that refuse it, from the first refusal to the last attempt."""

    def __init__(self, runtime: Runtime, timeout_s: float) -> None:
        self.ticket = new_id(runtime.now_ms())
        self._runtime = runtime
        self._until_s = monotonic() + timeout_s
        self._pause_s = _FIRST_S
        self._wake = Wake()
        self._queued: tuple[Account, ...] = ()
        """Where the ticket may stand."""

    @classmethod
    def of(cls, runtime: Runtime, on_denied: OnDenied) -> Self | None:
        """A place for a call that is to wait; None for one that is not."""
        if on_denied.do != "wait":
            return None
        return cls(runtime, to_ms(on_denied.timeout, what="timeout") / 1000)

    def wait(self, accounts: tuple[Account, ...]) -> Steps[bool]:
        """Pause before another attempt; False when there is no time for one, or no way to wait."""
        left_s = self._until_s - monotonic()
        if left_s <= 0:
            return False
        self._runtime.waiting.add(self._wake, accounts)
        if not (yield Pause(min(self._pause_s, left_s), self._wake, for_others=True)):
            return False
        self._pause_s = min(self._pause_s * 2, _LONGEST_S)
        return True

    def asks(self, accounts: tuple[Account, ...]) -> int:
        """Another attempt is made on these accounts: how many ms the ticket is to be honoured after it."""
        if monotonic() >= self._until_s:
            return 0  # the last one: who is refused now leaves the queues
        self._queued = accounts
        return _HONOURED_MS

    def told(self, reply: Reply) -> None:
        """The answer to the attempt: whoever is admitted, or cannot be helped by waiting, has left the queues."""
        if reply.outcome is Outcome.GRANTED or (
            reply.denial is not None and not DENIALS[reply.denial.kind].waits
        ):
            self._queued = ()

    def over(self) -> None:
        """Nobody waits any more, and the place in the queues is given up, so that it holds up nobody."""
        self._runtime.waiting.discard(self._wake)
        accounts, self._queued = self._queued, ()
        if accounts:
            now_ms = self._runtime.now_ms()
            hold_id = new_id(now_ms)
            with suppress(OutboxFull):  # then the ticket lapses by itself
                # A reserve of nothing is always granted, and gives its ticket back.
                self._runtime.outbox.put(Reserve(hold_id, accounts, {}, _HONOURED_MS, ticket=self.ticket))
                self._runtime.outbox.put(Release(hold_id, accounts))
