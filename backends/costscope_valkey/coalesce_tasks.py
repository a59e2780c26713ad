"""Many tasks of an event loop, one request: while batches are in flight, the next one gathers.

No timer: a caller who finds nothing in flight sends at once. What is sent must be idempotent, since a batch
whose sender was cancelled is sent again.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from costscope_valkey.coalesce_threads import BATCH_MAX, batch_of, own_copy, take, wrong_count

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
R = TypeVar("R")

FLIGHTS_MAX: Final = 2
"""Batches of one event loop that may be under way at once: the next is packed while the server works."""

FULL_ENOUGH: Final = 64
"""Commands that make it worth while to send a second batch before the first is answered."""


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
        """Do as `ThreadCoalescer.execute`; how long it may take is decided by `send`."""
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


class _Waiting(msgspec.Struct, Generic[T, R], frozen=True):
    """The commands of one task, and the future it waits for."""

    commands: Sequence[T]
    waiter: asyncio.Future[list[R]]


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
        entries = take([self._queue.popleft()], self._queue, self._batch_max)
        batch = batch_of(entries)
        self._gathered -= len(batch)
        flight: asyncio.Future[list[R]]
        try:
            flight = asyncio.ensure_future(self._send(batch))
        except Exception as error:  # noqa: BLE001 - it belongs to every caller of the batch
            flight = asyncio.get_running_loop().create_future()
            flight.set_exception(error)
        self._flights[flight] = entries
        flight.add_done_callback(self._finish)

    def _finish(self, flight: asyncio.Future[list[R]]) -> None:
        entries = self._flights.pop(flight)
        if flight.cancelled():
            # every task of the loop was cancelled; one that still waits is served by another flight
            waiting = [entry for entry in entries if not entry.waiter.done()]
            self._queue.extendleft(reversed(waiting))
            self._gathered += sum(len(entry.commands) for entry in waiting)
        else:
            _answer(entries, flight)
        if self._queue and (not self._flights or self._gathered >= FULL_ENOUGH):
            self._depart()


def _answer(entries: list[_Waiting[T, R]], flight: asyncio.Future[list[R]]) -> None:
    error = flight.exception()
    replies = flight.result() if error is None else []
    wanted = sum(len(entry.commands) for entry in entries)
    if error is None and len(replies) != wanted:
        error = wrong_count(len(replies), wanted)
    at = 0
    for entry in entries:
        end = at + len(entry.commands)
        if not entry.waiter.done():
            if error is None:
                entry.waiter.set_result(replies[at:end])
            else:
                entry.waiter.set_exception(own_copy(error))
        at = end
