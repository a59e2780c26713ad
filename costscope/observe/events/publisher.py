"""Records on their way to the board, where other processes and webhooks find them."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections import deque
from types import FunctionType
from typing import TYPE_CHECKING, Final

from costscope.background.worker import CLOSING_S, Worker, register, send_until_taken
from costscope.errors import CostscopeError, StoreUnavailable
from costscope.observe.events.records import ENCODER, CallRefused, CallSettled
from costscope.stores.coordination.operations import Publish, SetOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    from costscope.observe.events.records import Event
    from costscope.stores.base import Store

WAITING_MAX: Final = 1_000
"""Records that may wait, and as many again that are to be delivered. Each is about 500 bytes."""

_BATCH: Final = 128
_REFUSALS_APART_S: Final = 1.0
_REFUSALS_KNOWN: Final = 4_096
_LOSS_LOGGED_S: Final = 60.0

log = logging.getLogger("costscope.events")


class Publisher:
    """Publishes in the background what it is given; at once where the store does not wait.

    While the store is away records wait, at most `limit`, and the oldest make room for new ones. Those a webhook
    waits for have a place of their own and go last. Calls that were settled are never published, and refusals of the
    same kind by the same budget under the same labels at most once a second: the books have them all.

    Args:
        store: whose board it is.
        limit: how many records may wait.
        delivering: called after something was published that is to be delivered.
    """

    def __init__(
        self, store: Store, *, limit: int = WAITING_MAX, delivering: Callable[[], None] | None = None
    ) -> None:
        self._store = store
        self._limit = limit
        self._delivering = delivering
        self._store_codes = frozenset(_codes(type(store)))
        self._worker = Worker(self._send_all, "costscope-publisher")
        self._number = itertools.count()
        self._plain: deque[tuple[int, SetOnce | Publish]] = deque()
        self._delivered: deque[tuple[int, SetOnce | Publish]] = deque()
        self._sending: list[SetOnce | Publish] = []
        self._refused: dict[object, float] = {}
        self._loss = _Loss()
        register(self, "publisher")

    def __len__(self) -> int:
        """How many records wait."""
        return len(self._plain) + len(self._delivered) + len(self._sending)

    def put(self, event: Event, *, once: str = "", once_ms: int = 0, deliver: tuple[str, ...] = ()) -> None:
        """Publish this. Does not wait for I/O.

        Args:
            event: what has happened.
            once: as in `costscope.board.Publish`.
            once_ms: the same.
            deliver: the names of webhooks.
        """
        if isinstance(event, CallSettled) or (
            isinstance(event, CallRefused) and not deliver and self._was_refused(event)
        ):
            return
        if self._worker.closing.is_set():
            self._loss.report("the runtime is closed", deliver=bool(deliver))
            return
        at_once = not self._store.waits and not len(self) and not self._is_inside_the_store()
        op = Publish(
            id=event.id, record=ENCODER.encode(event).decode(), once=once, once_ms=once_ms, deliver=deliver
        )
        if at_once:
            try:
                self._publish([op])
            except StoreUnavailable:
                pass  # a store that a test has taken away: as if it were elsewhere
            else:
                return
        self._wait(op)

    def remember(self, op: SetOnce) -> None:
        """Put this on the board together with the records. Does not wait, and may be lost as records may."""
        if not self._worker.closing.is_set():
            self._wait(op)

    def drain(self, timeout_s: float = CLOSING_S) -> bool:
        """Wait until everything is published, at most so long; say whether it is."""
        return not len(self) or (self._worker.drain(timeout_s) and not len(self))

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """Drain, then end the thread; what is left is logged as lost."""
        if self._worker.closing.is_set():
            return
        self._worker.close(self.drain, timeout_s)
        if len(self):
            log.error("%d records of events could not be published to %s", len(self), self._store.url)

    def restart_in_child(self) -> None:
        """Start empty after a fork: the parent publishes its own."""
        self._plain, self._delivered, self._sending = deque(), deque(), []
        self._worker.restart_in_child()

    def _was_refused(self, event: CallRefused) -> bool:
        """Tell whether the same has just been published."""
        same = (event.budget, event.kind, tuple(event.labels.items()))
        now = time.monotonic()
        if now - self._refused.get(same, -_REFUSALS_APART_S) < _REFUSALS_APART_S:
            return True
        if len(self._refused) >= _REFUSALS_KNOWN:
            self._refused.clear()
        self._refused[same] = now
        return False

    def _is_inside_the_store(self) -> bool:
        """Tell whether this is a finalizer that was run in the middle of the store, whose lock its thread has."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to look at one's callers
        while frame is not None:
            if frame.f_code in self._store_codes:
                return True
            frame = frame.f_back
        return False

    def _wait(self, op: SetOnce | Publish) -> None:
        queue = self._delivered if _delivers(op) else self._plain
        queue.append((next(self._number), op))
        if len(queue) > self._limit:
            self._drop(queue, deliver=_delivers(op))
        elif len(self) > self._limit:
            self._drop(self._plain, deliver=False)
        self._worker.wake()

    def _drop(self, queue: deque[tuple[int, SetOnce | Publish]], *, deliver: bool) -> None:
        try:
            queue.popleft()
        except IndexError:  # the thread has just taken it
            return
        self._loss.report(f"{self._store.url} does not take them", deliver=deliver)

    def _send_all(self) -> None:
        while self._fill() and not self._worker.stopping:
            try:
                if not send_until_taken(self._worker, self._publish, self._sending):
                    return  # what could not be sent stays, and `close` reports it
            except CostscopeError:
                log.exception("the store refused %d records of events for good", len(self._sending))
            self._sending = []

    def _fill(self) -> bool:
        while len(self._sending) < _BATCH and (self._plain or self._delivered):
            plain, delivered = self._plain, self._delivered
            try:
                older = delivered if delivered and (not plain or delivered[0][0] < plain[0][0]) else plain
                self._sending.append(older.popleft()[1])
            except IndexError:
                continue  # it has just been dropped
        return bool(self._sending)

    def _publish(self, ops: list[SetOnce | Publish]) -> None:
        self._store.tell(ops)
        if self._delivering is None:
            return
        for op in ops:
            if isinstance(op, Publish) and op.deliver:
                self._delivering()
                return


def _delivers(op: SetOnce | Publish) -> bool:
    return isinstance(op, Publish) and bool(op.deliver)


def _codes(cls: type) -> Iterator[CodeType]:
    """Return the code of the methods of a class."""
    for base in cls.__mro__:
        for method in vars(base).values():
            if isinstance(method, FunctionType):
                yield method.__code__


class _Loss:
    """Counts what is lost and says so once a minute."""

    def __init__(self) -> None:
        self._count = 0
        self._said = -_LOSS_LOGGED_S

    def report(self, why: str, *, deliver: bool) -> None:
        self._count += 1
        now = time.monotonic()
        if now - self._said < _LOSS_LOGGED_S:
            return
        self._said = now
        level = logging.ERROR if deliver else logging.WARNING
        log.log(
            level, "%d records of events were not published since the last such line: %s", self._count, why
        )
        self._count = 0
