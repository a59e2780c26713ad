"""Many callers, one request: while a batch is in flight, the next one gathers.

No timer and no extra thread: a caller who finds nothing in flight sends at once. What is sent must be
idempotent, since a batch whose sender was interrupted is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from costscope.errors import StoreError, StoreUnavailable
from costscope_valkey.forking import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence, Sized

__all__ = ["BATCH_MAX", "FLIGHTS_MAX", "FULL_ENOUGH", "TaskCoalescer", "ThreadCoalescer"]

T = TypeVar("T")
R = TypeVar("R")

FLIGHTS_MAX: Final = 2
"""Batches of one event loop that may be under way at once: the next is packed while the server works."""

FULL_ENOUGH: Final = 64
"""Commands that make it worth while to send a second batch before the first is answered."""

BATCH_MAX: Final = 256
"""Commands in one request: more would keep the server from everybody else for more than a few milliseconds."""


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
        finally:  # answered, out of patience or interrupted: nobody may count on this thread any more
            try:
                self._hand_over(entry)
            except BaseException:
                self._hand_over(entry)  # an interrupt came in between; the others must not pay for it
                raise
        if entry.error is not None:
            raise _own_copy(entry.error)
        if entry.replies is None:
            msg = (
                f"no answer after {self._wait_s * 1000:.0f} ms, since other threads kept the connection busy; "
                "repeat with the same ids"
            )
            raise StoreUnavailable(msg)
        return entry.replies

    def after_fork(self) -> None:
        """The child has none of the threads that lead or wait."""
        self._mutex = threading.Lock()
        self._queue = deque()
        self._leader = None

    def _lead(self, own: _Entry[T, R]) -> None:
        """Send one batch: the own commands and those of all who fit in."""
        entries = [own]
        try:
            with self._mutex:
                _take(entries, self._queue, self._batch_max)
            if len(entries) == 1:
                own.replies = _checked(self._send(own.commands), len(own.commands))
                return
            batch = [command for entry in entries for command in entry.commands]
            replies = _checked(self._send(batch), len(batch))
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


class TaskCoalescer(Generic[T, R]):
    """Batches for asyncio tasks, at most two in flight for each event loop.

    A caller that is cancelled stops waiting, nothing else: its commands are sent with their batch.
    """

    def __init__(
        self, send: Callable[[Sequence[T]], Awaitable[list[R]]], *, batch_max: int = BATCH_MAX
    ) -> None:
        """Share `send` between tasks.

        Args:
            send: sends a batch; brings one reply per command, in order. A Future is awaited as it is, a
                coroutine runs in a task of its own, which costs 5 to 10 us more.
            batch_max: the most commands in one batch.
        """
        self._send = send
        self._batch_max = batch_max
        self._lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Lane[T, R]] = (
            weakref.WeakKeyDictionary()
        )

    async def execute(self, commands: Sequence[T]) -> list[R]:
        """As `ThreadCoalescer.execute`; how long it may take is decided by `send`."""
        if len(commands) > self._batch_max:
            pieces = range(0, len(commands), self._batch_max)
            return [
                reply for at in pieces for reply in await self.execute(commands[at : at + self._batch_max])
            ]
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            for other in [known for known in self._lanes if known.is_closed()]:
                del self._lanes[other]  # a batch that was in flight there would keep it for ever
            lane = self._lanes[loop] = _Lane(self._send, self._batch_max)
        waiter: asyncio.Future[list[R]] = loop.create_future()
        lane.add(_Waiting(commands, waiter))
        return await waiter


class _Waiting(Generic[T, R]):
    """The commands of one task, and the future it waits for."""

    __slots__ = ("commands", "waiter")

    def __init__(self, commands: Sequence[T], waiter: asyncio.Future[list[R]]) -> None:
        self.commands = commands
        self.waiter = waiter


class _Lane(Generic[T, R]):
    """What gathers and what is in flight on one event loop. It refers to no loop while it is idle."""

    __slots__ = ("_batch_max", "_flights", "_gathered", "_queue", "_send")

    def __init__(self, send: Callable[[Sequence[T]], Awaitable[list[R]]], batch_max: int) -> None:
        self._send = send
        self._batch_max = batch_max
        self._queue: deque[_Waiting[T, R]] = deque()
        self._gathered = 0  # commands in the queue
        self._flights: dict[asyncio.Future[list[R]], list[_Waiting[T, R]]] = {}

    def add(self, waiting: _Waiting[T, R]) -> None:
        self._queue.append(waiting)
        self._gathered += len(waiting.commands)
        flights = len(self._flights)
        if not flights or (flights < FLIGHTS_MAX and self._gathered >= FULL_ENOUGH):
            self._depart()

    def _depart(self) -> None:
        entries = _take([self._queue.popleft()], self._queue, self._batch_max)
        batch = (
            entries[0].commands
            if len(entries) == 1
            else [command for entry in entries for command in entry.commands]
        )
        self._gathered -= len(batch)
        flight: asyncio.Future[list[R]]
        try:
            flight = asyncio.ensure_future(self._send(batch))
        except Exception as error:  # noqa: BLE001 - it belongs to every caller of the batch
            flight = asyncio.get_running_loop().create_future()
            flight.set_exception(error)
        self._flights[flight] = entries
        flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Future[list[R]]) -> None:
        entries = self._flights.pop(flight)
        if flight.cancelled():
            # somebody cancelled every task of the loop; who still waits is served by another flight
            waiting = [entry for entry in entries if not entry.waiter.done()]
            self._queue.extendleft(reversed(waiting))
            self._gathered += sum(len(entry.commands) for entry in waiting)
        else:
            _answer(entries, flight)
        if self._queue and (not self._flights or self._gathered >= FULL_ENOUGH):
            self._depart()


def _answer(entries: list[_Waiting[T, R]], flight: asyncio.Future[list[R]]) -> None:
    error = flight.exception()
    replies: list[R] = []
    if error is None:
        try:
            replies = _checked(flight.result(), sum(len(entry.commands) for entry in entries))
        except StoreError as mismatch:
            error = mismatch
    at = 0
    for entry in entries:
        end = at + len(entry.commands)
        if not entry.waiter.done():
            if error is None:
                entry.waiter.set_result(replies[at:end])
            else:
                entry.waiter.set_exception(_own_copy(error))
        at = end


class _HasCommands(Protocol):
    @property
    def commands(self) -> Sized: ...


Queued = TypeVar("Queued", bound=_HasCommands)


def _take(entries: list[Queued], queue: deque[Queued], batch_max: int) -> list[Queued]:
    """Move what fits into the next batch, whole and in order, from the queue to `entries`, which has its first.

    An interrupt in between leaves an entry in both rather than in none.
    """
    room = batch_max - len(entries[0].commands)
    while queue and len(queue[0].commands) <= room:
        room -= len(queue[0].commands)
        entries.append(queue[0])
        queue.popleft()
    return entries


def _checked(replies: list[R], wanted: int) -> list[R]:
    if len(replies) != wanted:
        msg = f"{len(replies)} replies to {wanted} commands: the script on the server is not the one of this version"
        raise StoreError(msg)
    return replies


def _own_copy(error: BaseException) -> BaseException:
    """An instance for one caller: tracebacks and notes grow on the instance that is raised."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be copied is better shared than lost
        return error
    own.__cause__ = error
    return own
