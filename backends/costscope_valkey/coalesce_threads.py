"""Many threads, one request: while a batch is in flight, the next one gathers.

No timer and no extra thread: a caller who finds nothing in flight sends at once. What is sent must be
idempotent, since a batch whose sender was interrupted is sent again.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from costscope.errors import StoreError, StoreUnavailable
from costscope_valkey.link import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized


R = TypeVar("R")

BATCH_MAX: Final = 256
"""Commands in one request: more would keep the server from all others for more than a few milliseconds."""


class HasCommands(Protocol):
    """What waits to be sent: one caller's commands."""

    @property
    def commands(self) -> Sized:
        """They stay together in one batch."""
        ...


Queued = TypeVar("Queued", bound=HasCommands)


def take(entries: list[Queued], queue: deque[Queued], batch_max: int) -> list[Queued]:
    """Move what fits into the next batch, whole and in order, from the queue to `entries`, which has its first.

    An interrupt in between leaves an entry in both rather than in none.
    """
    room = batch_max - len(entries[0].commands)
    while queue and len(queue[0].commands) <= room:
        room -= len(queue[0].commands)
        entries.append(queue[0])
        queue.popleft()
    return entries


def batch_of(entries: list[Any]) -> Sequence[Any]:
    """Return all commands of these entries, in order."""
    if len(entries) == 1:
        return entries[0].commands  # type: ignore[no-any-return]
    return [command for entry in entries for command in entry.commands]


def wrong_count(found: int, wanted: int) -> StoreError:
    """Return the error for another number of replies than of commands: which belongs to whom is unknown."""
    msg = f"{found} replies to {wanted} commands: the script on the server is not the one of this version"
    return StoreError(msg)


def own_copy(error: BaseException) -> BaseException:
    """Copy an error for one caller: tracebacks and notes grow on the instance that is raised."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be copied is better shared than lost
        return error
    own.__cause__ = error
    return own


T = TypeVar("T")


class _Entry(Generic[T, R]):
    """The commands of one thread, and what became of them."""

    __slots__ = ("commands", "error", "gone", "replies", "wake")

    def __init__(self, commands: Sequence[T]) -> None:
        self.commands = commands
        self.replies: list[R] | None = None
        self.error: Exception | None = None
        self.gone = False
        self.wake = threading.Lock()  # held until there is something to wake up for
        self.wake.acquire()

    def rouse(self) -> None:
        """Wake the thread that waits here; done twice, it does no harm."""
        with contextlib.suppress(RuntimeError):
            self.wake.release()


class ThreadCoalescer(Generic[T, R]):
    """Batches for threads: the first comer leads, that is sends for all who gathered.

    A leader sends one batch, and then passes the lead to one who still waits, so that no thread serves the
    others for ever.
    """

    def __init__(
        self, send: Callable[[Sequence[T]], list[R]], *, wait_s: float = 0.5, batch_max: int = BATCH_MAX
    ) -> None:
        """Share `send` between threads.

        Args:
            send: sends a batch and returns one reply per command, in order.
            wait_s: how long a caller waits for others to be done, in seconds.
            batch_max: the most commands in one batch.
        """
        self._send = send
        self._wait_s = wait_s
        self._batch_max = batch_max
        self._mutex = threading.Lock()
        self._queue: deque[_Entry[T, R]] = deque()
        self._leader: _Entry[T, R] | None = None
        renew_after_fork(self)

    def execute(self, commands: Sequence[T]) -> list[R]:
        """Send some commands, together with those of other threads where that saves waiting.

        Args:
            commands: stay together in one batch; more than `batch_max` go one batch after the other.

        Raises:
            StoreUnavailable: others kept the connection busy for `wait_s` seconds.
            Exception: what `send` raised; every caller gets an instance of its own.
        """
        if len(commands) > self._batch_max:
            pieces = range(0, len(commands), self._batch_max)
            return [reply for at in pieces for reply in self.execute(commands[at : at + self._batch_max])]
        entry = _Entry[T, R](commands)
        try:
            with self._mutex:
                if self._leader is None:
                    self._leader = entry
                else:
                    self._queue.append(entry)
            if self._leader is not entry:
                entry.wake.acquire(timeout=self._wait_s)
            if self._leader is entry:
                self._lead(entry)
        finally:  # answered, out of patience or interrupted: no other may count on this thread any more
            try:
                self._hand_over(entry)
            except BaseException:
                self._hand_over(entry)  # an interrupt came in between; the others must not pay for it
                raise
        if entry.error is not None:
            raise own_copy(entry.error)
        if entry.replies is None:
            msg = (
                f"no answer after {self._wait_s * 1000:.0f} ms, since other threads kept the connection busy; "
                "repeat with the same ids"
            )
            raise StoreUnavailable(msg)
        return entry.replies

    def after_fork(self) -> None:
        """Start empty: the child has none of the threads that lead or wait."""
        self._mutex = threading.Lock()
        self._queue = deque()
        self._leader = None

    def _lead(self, own: _Entry[T, R]) -> None:
        """Send one batch: the own commands and those of all who fit in."""
        entries = [own]
        try:
            with self._mutex:
                take(entries, self._queue, self._batch_max)
            batch = batch_of(entries)
            replies = self._send(batch)
            if len(replies) != len(batch):
                raise wrong_count(len(replies), len(batch))  # noqa: TRY301 - as what `send` raises
            if len(entries) == 1:
                own.replies = replies
                return
            at = 0
            for entry in entries:
                entry.replies = replies[at : at + len(entry.commands)]
                at += len(entry.commands)
                entry.rouse()
        except Exception as error:  # noqa: BLE001 - each caller raises it in its own thread
            for entry in entries:
                entry.error = error
                entry.rouse()
        except BaseException:
            # interrupted: the others' commands go out again, under the next leader
            with self._mutex:
                for entry in reversed(entries[1:]):
                    if entry.replies is not None:
                        entry.rouse()
                    elif not entry.gone and entry not in self._queue:
                        self._queue.appendleft(entry)
            raise

    def _hand_over(self, entry: _Entry[T, R]) -> None:
        with self._mutex:
            entry.gone = True
            if self._leader is entry:
                # looked at, then taken: an interrupt in between must not lose the next leader
                self._leader = self._queue[0] if self._queue else None
                if self._queue:
                    self._queue.popleft()
            elif entry in self._queue:
                self._queue.remove(entry)
            leader = self._leader
        if leader is not None:
            leader.rouse()
