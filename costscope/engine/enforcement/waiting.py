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
    from costscope.engine.state.services import Services
    from costscope.ledger import Account, Reply
    from costscope.policy.model.controls import OnDenied
    from costscope.stores.effects import Steps

_FIRST_S: Final = 0.02
_LONGEST_S: Final = 0.25
_HONOURED_MS: Final = 2000
"""How long the place in the queue of a caller that does not ask again is kept: eight of the longest pauses. So long those
behind a process that was killed are held up."""


class QueuePlace:
    """One caller's place in the queues of the accounts that refuse it, from the first refusal to the last attempt."""

    def __init__(self, services: Services, timeout_s: float) -> None:
        self.ticket = new_id(services.now_ms())
        self._services = services
        self._until_s = monotonic() + timeout_s
        self._pause_s = _FIRST_S
        self._wake = Wake()
        self._queued: tuple[Account, ...] = ()
        """Where the ticket may stand."""

    @classmethod
    def of(cls, services: Services, on_denied: OnDenied) -> Self | None:
        """Make a place for a call that is to wait; None for one that is not."""
        if on_denied.do != "wait":
            return None
        return cls(services, to_ms(on_denied.timeout, what="timeout") / 1000)

    def wait(self, accounts: tuple[Account, ...]) -> Steps[bool]:
        """Pause before another attempt; False when there is no time for one, or no way to wait."""
        left_s = self._until_s - monotonic()
        if left_s <= 0:
            return False
        self._services.wait_list.add(self._wake, accounts)
        if not (yield Pause(min(self._pause_s, left_s), self._wake, for_others=True)):
            return False
        self._pause_s = min(self._pause_s * 2, _LONGEST_S)
        return True

    def honour_ms(self, accounts: tuple[Account, ...]) -> int:
        """Return how many ms the ticket is to be honoured after another attempt on these accounts."""
        if monotonic() >= self._until_s:
            return 0  # the last one: who is refused now leaves the queues
        self._queued = accounts
        return _HONOURED_MS

    def on_reply(self, reply: Reply) -> None:
        """Take the answer to the attempt: a caller that is admitted, or cannot be helped by waiting, has left the queues."""
        if reply.outcome is Outcome.GRANTED or (
            reply.denial is not None and not DENIALS[reply.denial.kind].waits
        ):
            self._queued = ()

    def leave(self) -> None:
        """Wait no more, and give up the place in the queues, so that it holds up no other caller."""
        self._services.wait_list.discard(self._wake)
        accounts, self._queued = self._queued, ()
        if accounts:
            now_ms = self._services.now_ms()
            hold_id = new_id(now_ms)
            with suppress(OutboxFull):  # then the ticket lapses by itself
                # A reserve of nothing is always granted, and gives its ticket back.
                self._services.outbox.put(Reserve(hold_id, accounts, {}, _HONOURED_MS, ticket=self.ticket))
                self._services.outbox.put(Release(hold_id, accounts))
