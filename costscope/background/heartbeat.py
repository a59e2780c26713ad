"""The heartbeat of slots: a thread that extends the leases of runs and calls which are still alive.

A slot is a lease. Its holder renews it three times before it ends, and stops itself when it could not: whoever gets
the slot next must never meet the one before. `Beat.lost` tells by this process's own clock, so that a process that was
stopped for a minute knows before its first step.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from costscope.background.worker import ends_with_process
from costscope.context import in_empty_context
from costscope.errors import CostscopeError
from costscope.ledger import Extend, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.base import Store

__all__ = ["Beat", "Heart", "awake_s"]

_BEATS: Final = 3
"""Renewals within one lease."""

_BATCH: Final = 128

_LINGER_S: Final = 10.0
"""How long the thread stays when nothing is to be renewed, at most: starting one takes longer than a short run."""

log = logging.getLogger("costscope")

if hasattr(time, "CLOCK_BOOTTIME"):

    def awake_s() -> float:
        """Seconds of a clock that goes on while this process is stopped, and while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    awake_s = time.monotonic


class Beat:
    """One lease that is kept up."""

    __slots__ = ("_on_lost", "given_up", "hold_id", "lease_s", "renewed_s", "strict")

    def __init__(
        self,
        hold_id: str,
        lease_s: float,
        since_s: float,
        on_lost: Callable[[], None] | None,
        *,
        strict: bool = True,
    ) -> None:
        self.hold_id = hold_id
        self.lease_s = lease_s
        self.renewed_s = since_s
        """When the last renewal was sent, by `awake_s`: the store counts the lease from later on."""
        self.given_up = False
        self.strict = strict
        """It is lost when it could not be renewed; else only when the store says so."""
        self._on_lost = on_lost

    @property
    def lost(self) -> bool:
        """True when the slot may be another's."""
        return self.given_up or (self.strict and awake_s() >= self.renewed_s + self.lease_s)

    def give_up(self) -> None:
        """Tell the holder to stop, once."""
        if not self.given_up:
            self.given_up = True
            if self._on_lost is not None:
                self._on_lost()


class Heart:
    """Renews the leases of one runtime. The thread is there while there is something to renew, and a little longer."""

    def __init__(self, store: Store, lease_ms: int) -> None:
        self._store = store
        self.lease_ms = lease_ms
        self._beats: dict[str, Beat] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes_s = 0.0
        """When the thread looks again by itself."""
        self._closed = False
        ends_with_process(self, "callbacks")

    def add(
        self,
        hold_id: str,
        since_s: float,
        on_lost: Callable[[], None] | None = None,
        *,
        strict: bool = True,
    ) -> Beat:
        """Keep up this hold, whose reserve was sent at `since_s` of `awake_s`.

        Args:
            hold_id: its id.
            since_s: when it was asked for.
            on_lost: called from another thread when it is lost. It must not wait.
            strict: it is lost when it could not be renewed in time, and not only when the store says so.
        """
        beat = Beat(hold_id, self.lease_ms / 1000, since_s, on_lost, strict=strict)
        with self._changed:
            self._beats[hold_id] = beat
            if self._thread is None and not self._closed:
                self._start()
            elif since_s + self._every_s < self._wakes_s:
                self._changed.notify()
        return beat

    def drop(self, hold_id: str) -> None:
        """Its holder is done."""
        self._beats.pop(hold_id, None)

    def keeps(self, hold_id: str) -> bool:
        """Whether the holder of this is in this process, and has not been told that it is lost."""
        return hold_id in self._beats

    def close(self, timeout_s: float = 0.0) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Renew nothing more; what is held is free after its lease."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def restart_in_child(self) -> None:
        """After a fork the parent keeps up what the parent holds."""
        self._changed = threading.Condition()
        self._beats = {}
        self._thread = None

    def _start(self) -> None:
        thread = threading.Thread(target=in_empty_context(self._run), name="costscope-heart", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no new threads while the interpreter ends
            return
        self._thread = thread

    def _run(self) -> None:
        while (due := self._due()) is not None:
            for at in range(0, len(due), _BATCH):
                self._renew(due[at : at + _BATCH])

    @property
    def _every_s(self) -> float:
        return self.lease_ms / 1000 / _BEATS

    def _due(self) -> list[Beat] | None:
        """Wait for the next renewals; None when nothing has come for a while."""
        every_s = self._every_s
        linger_s = min(every_s, _LINGER_S)
        with self._changed:
            ends_s = awake_s() + linger_s
            while not self._closed:
                beats, now = list(self._beats.values()), awake_s()
                if beats:
                    at = min(beat.renewed_s for beat in beats) + every_s
                    if at <= now:  # those that are due soon come along, so that one request serves many
                        return [beat for beat in beats if beat.renewed_s + every_s * 0.75 <= now]
                    ends_s = at + linger_s
                elif now < ends_s:
                    at = ends_s
                else:
                    break
                self._wakes_s = at
                self._changed.wait(at - now)
            self._thread = None
            return None

    def _renew(self, beats: list[Beat]) -> None:
        sent_s = awake_s()
        commands = [Extend(beat.hold_id, self.lease_ms) for beat in beats]
        try:
            replies = self._store.execute(commands)
        except Exception as error:
            known = isinstance(error, CostscopeError)
            log.warning(
                "%d slots could not be renewed at %s", len(beats), self._store.url, exc_info=not known
            )
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
            if beat.strict and awake_s() + pause >= beat.renewed_s + beat.lease_s:
                self._give_up(beat)
        with self._changed:
            self._changed.wait_for(lambda: self._closed, pause)

    def _give_up(self, beat: Beat) -> None:
        self.drop(beat.hold_id)
        try:
            beat.give_up()
        except Exception:
            log.exception("the holder of %s could not be told that its slot is lost", beat.hold_id)
