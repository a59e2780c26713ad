"""The heartbeat of slots: a worker that extends the leases of runs and calls which are still alive.

A slot is a lease. Its holder renews it three times before it ends, and stops itself when it could not: the next holder
of the slot must never meet the one before. `Lease.lost_at_s` is by this process's own clock, so that a process that was
stopped for a minute knows before its first step.
"""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from costscope.background.worker import Worker, register
from costscope.errors import CostscopeError
from costscope.ledger import Extend, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.base import Store

_BEATS: Final = 3
"""Renewals within one lease."""

_BATCH: Final = 128

_LINGER_S: Final = 10.0
"""How long the thread stays when nothing is to be renewed, at most: starting one takes longer than a short run."""

log = logging.getLogger("costscope")

awake_s: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Seconds of a clock that goes on while this process is stopped, and while the machine sleeps."""


class Lease:
    """One lease that is kept up.

    Attributes:
        lease_s: how long after a renewal it is lost; infinite where only the store says so.
        renewed_s: when the last renewal was sent, by `awake_s`: the store counts the lease from later on.
        lost_at_s: from then on the slot may be another's; 0 once it is given up.
    """

    __slots__ = ("_on_lost", "hold_id", "lease_s", "lost_at_s", "renewed_s")

    def __init__(
        self,
        hold_id: str,
        lease_s: float,
        since_s: float,
        on_lost: Callable[[], object] | None,
        *,
        strict: bool,
    ) -> None:
        self.hold_id = hold_id
        self.lease_s = lease_s if strict else math.inf
        self._on_lost = on_lost
        self.renew(since_s)

    def renew(self, sent_s: float) -> None:
        """Count the lease from this renewal on."""
        self.renewed_s, self.lost_at_s = sent_s, sent_s + self.lease_s

    def give_up(self) -> None:
        """Tell the holder to stop, once."""
        if self.lost_at_s:
            self.lost_at_s = 0.0
            if self._on_lost is not None:
                self._on_lost()


class LeaseRenewer:
    """Renews the leases of one runtime. The thread is there while there is something to renew, and a little longer."""

    def __init__(self, store: Store, lease_ms: int) -> None:
        self._store = store
        self.lease_ms = lease_ms
        self._every_s = lease_ms / 1000 / _BEATS
        self._leases: dict[str, Lease] = {}
        self._looks_s = math.inf
        """When the thread looks again by itself, by `awake_s`; infinite when it does not."""
        self._worker = Worker(self._renew_due, "costscope-heartbeat")
        self._worker.linger_s = min(self._every_s, _LINGER_S)
        register(self, "callbacks")

    def add(
        self,
        hold_id: str,
        since_s: float,
        on_lost: Callable[[], object] | None = None,
        *,
        strict: bool = True,
    ) -> Lease:
        """Keep up this hold, whose reserve was sent at `since_s` of `awake_s`.

        Args:
            hold_id: its id.
            since_s: when it was asked for.
            on_lost: called from another thread when it is lost. It must not wait.
            strict: it is lost when it could not be renewed in time, and not only when the store says so.
        """
        lease = Lease(hold_id, self.lease_ms / 1000, since_s, on_lost, strict=strict)
        self._leases[hold_id] = lease
        if since_s + self._every_s < self._looks_s:
            self._worker.wake()
        return lease

    def drop(self, hold_id: str) -> None:
        """Forget this hold: its holder is done."""
        self._leases.pop(hold_id, None)

    def keeps(self, hold_id: str) -> bool:
        """Return whether the holder of this is in this process, and has not been told that it is lost."""
        return hold_id in self._leases

    def close(self, timeout_s: float = 0.0) -> None:
        """Renew nothing more; what is held is free after its lease."""
        self._worker.stop(timeout_s)

    def restart_in_child(self) -> None:
        """Start empty after a fork: the parent keeps up what the parent holds."""
        self._leases = {}
        self._looks_s = math.inf
        self._worker.restart_in_child()

    def _renew_due(self) -> float | None:
        """Renew what is due; seconds until the next is."""
        # Before looking, so that a lease that is added meanwhile either is seen here or wakes the worker.
        self._looks_s = math.inf
        leases, now_s = list(self._leases.values()), awake_s()
        if not leases:
            return None
        next_s = min(lease.renewed_s for lease in leases) + self._every_s
        if next_s > now_s:
            self._looks_s = next_s
            return next_s - now_s
        # Those that are due soon come along, so that one request serves many.
        due = [lease for lease in leases if lease.renewed_s + self._every_s * 0.75 <= now_s]
        for at in range(0, len(due), _BATCH):
            if not self._worker.closing.is_set():
                self._renew(due[at : at + _BATCH])
        return 0.0

    def _renew(self, leases: list[Lease]) -> None:
        sent_s = awake_s()
        commands = [Extend(lease.hold_id, self.lease_ms) for lease in leases]
        try:
            replies = self._store.execute(commands)
        except Exception as error:
            known = isinstance(error, CostscopeError)
            log.warning(
                "%d slots could not be renewed at %s", len(leases), self._store.url, exc_info=not known
            )
            self._give_up_late(leases)
            return
        for lease, reply in zip(leases, replies, strict=True):
            if reply.outcome is Outcome.EXTENDED:
                lease.renew(sent_s)
            elif lease.hold_id in self._leases:  # else its holder settled it meanwhile
                self._give_up(lease)

    def _give_up_late(self, leases: list[Lease]) -> None:
        """Give up those whose lease ends before the next attempt; the others are tried again soon."""
        pause_s = self._every_s / 4
        for lease in leases:
            if awake_s() + pause_s >= lease.lost_at_s:
                self._give_up(lease)
        self._worker.pause(pause_s)

    def _give_up(self, lease: Lease) -> None:
        self.drop(lease.hold_id)
        try:
            lease.give_up()
        except Exception:
            log.exception("the holder of %s could not be told that its slot is lost", lease.hold_id)
