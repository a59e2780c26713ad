"""The heartbeat of slots: a thread that extends the leases of runs and calls which are still alive.

A slot is a lease. Its holder renews it three times before it ends, and stops itself when it could not: whoever gets
the slot next must never meet the one before. `Beat.lost` tells by this process's own clock, so that a process that was
stopped for a minute knows before its first step.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from costscope.errors import CostscopeError
from costscope.ledger import Extend, Outcome
from costscope.scope.context import in_empty_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.base import Store

__all__ = ["Beat", "Heart"]

_BEATS: Final = 3
"""Renewals within one lease."""

_BATCH: Final = 128

log = logging.getLogger("costscope")


class Beat:
    """One lease that is kept up."""

    __slots__ = ("_on_lost", "given_up", "hold_id", "lease_s", "renewed_s")

    def __init__(
        self, hold_id: str, lease_s: float, since_s: float, on_lost: Callable[[], None] | None
    ) -> None:
        self.hold_id = hold_id
        self.lease_s = lease_s
        self.renewed_s = since_s
        """When the last renewal was sent, by the monotonic clock: the store counts the lease from later on."""
        self.given_up = False
        self._on_lost = on_lost

    @property
    def lost(self) -> bool:
        """True when the slot may be another's."""
        return self.given_up or monotonic() >= self.renewed_s + self.lease_s

    def give_up(self) -> None:
        """Tell the holder to stop, once."""
        if not self.given_up:
            self.given_up = True
            if self._on_lost is not None:
                self._on_lost()


class Heart:
    """Renews the leases of one runtime. The thread is there while there is something to renew."""

    def __init__(self, store: Store, lease_ms: int) -> None:
        self._store = store
        self.lease_ms = lease_ms
        self._beats: dict[str, Beat] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, hold_id: str, since_s: float, on_lost: Callable[[], None] | None = None) -> Beat:
        """Keep up this hold, whose reserve was sent at `since_s` of the monotonic clock.

        Args:
            hold_id: its id.
            since_s: when it was asked for.
            on_lost: called from another thread when it could not be renewed in time.
        """
        beat = Beat(hold_id, self.lease_ms / 1000, since_s, on_lost)
        with self._changed:
            self._beats[hold_id] = beat
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=in_empty_context(self._run), name="costscope-heart", daemon=True
                )
                self._thread.start()
            elif len(self._beats) == 1:
                self._changed.notify()
        return beat

    def drop(self, hold_id: str) -> None:
        """Its holder is done."""
        with self._changed:
            self._beats.pop(hold_id, None)

    def close(self) -> None:
        """Renew nothing more; what is held is free after its lease."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def restart_in_child(self) -> None:
        """After a fork the parent keeps up what the parent holds."""
        self._changed = threading.Condition()
        self._beats = {}
        self._thread = None

    def _run(self) -> None:
        while (due := self._due()) is not None:
            for at in range(0, len(due), _BATCH):
                self._renew(due[at : at + _BATCH])

    def _due(self) -> list[Beat] | None:
        """Wait for the next renewals; None when there is nothing to wait for."""
        with self._changed:
            while not self._closed and self._beats:
                now = monotonic()
                at = min(beat.renewed_s + beat.lease_s / _BEATS for beat in self._beats.values())
                if at <= now:
                    return [b for b in self._beats.values() if b.renewed_s + b.lease_s / _BEATS <= now]
                self._changed.wait(at - now)
            self._thread = None
            return None

    def _renew(self, beats: list[Beat]) -> None:
        sent_s = monotonic()
        commands = [Extend(beat.hold_id, self.lease_ms) for beat in beats]
        try:
            replies = self._store.execute(commands)
        except CostscopeError:
            log.warning("%d slots could not be renewed at %s", len(beats), self._store.url, exc_info=True)
            self._give_up_late(beats)
            return
        for beat, reply in zip(beats, replies, strict=True):
            if reply.outcome is Outcome.EXTENDED:
                beat.renewed_s = sent_s
            elif beat.hold_id in self._beats:  # else its holder settled it meanwhile
                self._give_up(beat)

    def _give_up_late(self, beats: list[Beat]) -> None:
        """Give up those whose lease ends before the next attempt; the others are tried again soon."""
        pause = self.lease_ms / 1000 / _BEATS / 4
        for beat in beats:
            if monotonic() + pause >= beat.renewed_s + beat.lease_s:
                self._give_up(beat)
        with self._changed:
            self._changed.wait_for(lambda: self._closed, pause)

    def _give_up(self, beat: Beat) -> None:
        self.drop(beat.hold_id)
        beat.give_up()
