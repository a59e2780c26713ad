"""One connection to one server for each event loop, for asyncio tasks.

Written on asyncio's transports rather than on the client's streams, for three reasons. A request is on its way
before the caller waits, so a cancelled caller cannot take it back, mix up replies or cost the connection. No
task is needed to wait for a reply, and a task hop costs as much as the rest of the client. And a connection can
be closed together with its loop, without a warning about it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar, cast

import tenacity
from valkey.exceptions import ConnectionError as LostConnection
from valkey.exceptions import NoScriptError

from costscope_valkey.failures import is_transient, translate
from costscope_valkey.link import (
    Argument,
    Request,
    Script,
    command_request,
    renew_after_fork,
    schedule,
    script_request,
)
from costscope_valkey.pipe import Pipe, open_pipe

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from costscope_valkey.url import ServerAddress

T = TypeVar("T")


class AsyncLink:
    """As `Link`, for any number of tasks on any number of event loops.

    Requests of one loop share one connection and may overlap: replies come in the order of the requests.
    """

    def __init__(self, server: ServerAddress, *, on_lost: Callable[[], None] | None = None) -> None:
        """Open nothing yet; the arguments are those of `Link`."""
        self.server: Final = server
        self._on_lost = on_lost
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
        self._lanes_change = threading.Lock()
        renew_after_fork(self)

    def submit(
        self,
        script: Script,
        keys: Sequence[Argument],
        args: Sequence[Argument],
        *,
        then: Callable[[object], T] | None = None,
    ) -> asyncio.Future[T]:
        """Send a script now; the future brings the reply, as `Link.call` would return or raise it.

        Cancelling the future only discards the reply: what was sent will be applied.

        Args:
            script: as for `Link.call`.
            keys: as there.
            args: as there.
            then: turns the reply into the future's result, right where the reply arrives.
        """
        return self._lane().submit(script_request(script, keys, args), then)

    async def call(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> object:
        """Run a script; returns and raises as `Link.call` does."""
        return await self._lane().submit(script_request(script, keys, args), None)

    async def command(self, *words: Argument) -> object:
        """Run a plain command; returns and raises as `Link.call` does."""
        return await self._lane().submit(command_request(*words), None)

    async def aclose(self) -> None:
        """Close the connection of the running loop, and those of loops that are closed already."""
        self._drop_closed()
        lane = self._lanes.pop(asyncio.get_running_loop(), None)
        if lane is not None:
            await lane.close()

    def after_fork(self) -> None:
        """Leave the parent's sockets to the parent; a child needs an event loop of its own anyway."""
        self._lanes_change = threading.Lock()
        self._lanes = {}

    def __del__(self) -> None:
        self._drop_closed()

    def _lane(self) -> _Lane:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            self._drop_closed()
            lane = _Lane(loop, self.server, self._on_lost)
            with self._lanes_change:
                self._lanes[loop] = lane
        return lane

    def _drop_closed(self) -> None:
        with self._lanes_change:
            closed = [loop for loop in self._lanes if loop.is_closed()]
            for loop in closed:
                self._lanes.pop(loop).abandon()


class _Lane:
    """What belongs to one event loop: its connection, and the tasks that repeat failed requests."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, server: ServerAddress, on_lost: Callable[[], None] | None
    ) -> None:
        self._loop = loop
        self._server = server
        self._on_lost = on_lost
        self._pipe: Pipe | None = None
        self._opening = asyncio.Lock()
        self._repeating: set[asyncio.Task[None]] = set()
        self._closer: AsyncGenerator[None, None] | None = None
        self._closing = False

    def submit(self, request: Request, then: Callable[[object], T] | None) -> asyncio.Future[T]:
        result: asyncio.Future[T] = self._loop.create_future()
        started = time.monotonic()

        def on_reply(reply: object) -> None:
            if isinstance(reply, Exception):
                self._repeat(request, started, reply, then, result)
            else:
                _settle(result, then, reply)

        pipe = self._pipe
        if pipe is not None and pipe.usable:
            pipe.send(request.packed, on_reply, self._server.timeouts.operation_s)
        else:
            self._repeat(request, started, None, then, result)
        return result

    def _repeat(
        self,
        request: Request,
        started: float,
        first: Exception | None,
        then: Callable[[object], T] | None,
        result: asyncio.Future[T],
    ) -> None:
        """Repeat a request in a task of its own, so that no caller can cancel it."""
        if self._closing:  # a task begun now would outlive its loop
            _fail(
                result, translate(first or LostConnection("closed"), self._server, time.monotonic() - started)
            )
            return

        async def persist() -> None:
            try:
                reply = await self._persist(request, started, first)
            except Exception as error:  # noqa: BLE001 - every failure belongs to the caller who waits
                failure = translate(error, self._server, time.monotonic() - started)
                failure.__cause__ = error if failure is not error else None
                _fail(result, failure)
            else:
                _settle(result, then, reply)
            finally:
                result.cancel()  # does nothing unless this task was cancelled

        task = self._loop.create_task(persist())
        self._repeating.add(task)
        task.add_done_callback(self._repeating.discard)

    async def _persist(self, request: Request, started: float, first: Exception | None) -> object:
        full = request.in_full() if isinstance(first, NoScriptError) else None
        if first is not None and full is None and not is_transient(first):
            raise first
        deadline = started + self._server.timeouts.total_s

        async def attempt() -> object:
            left = deadline - time.monotonic()
            try:
                async with asyncio.timeout(max(0.01, min(left, 2 * self._server.timeouts.operation_s))):
                    return await self._attempt(full or request)
            except Exception:
                if self._on_lost is not None and (self._pipe is None or not self._pipe.usable):
                    self._on_lost()
                raise

        return await tenacity.AsyncRetrying(**schedule(deadline - time.monotonic()))(attempt)

    async def _attempt(self, request: Request) -> object:
        pipe = await self._connect()
        try:
            return await pipe.ask(request.packed, self._server.timeouts.operation_s)
        except NoScriptError:
            full = request.in_full()
            if full is None:
                raise
        return await pipe.ask(full.packed, self._server.timeouts.operation_s)

    async def _connect(self) -> Pipe:
        async with self._opening:
            if self._pipe is None or not self._pipe.usable:
                self._pipe = None
                self._pipe = await open_pipe(self._loop, self._server)
                if self._closer is None:
                    self._closer = self._close_with_loop()
                    await anext(self._closer)
            return self._pipe

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        """Close the connection when the loop shuts down.

        A loop has no hook for that, but `asyncio.run` and every other runner end by closing the asynchronous
        generators that were begun on it, after the last task is done.
        """
        try:
            yield
        finally:
            self._closing = True
            if self._pipe is not None:
                await self._pipe.close()

    async def close(self) -> None:
        self._closing = True
        for task in list(self._repeating):
            task.cancel()
        if self._closer is not None:
            await self._closer.aclose()
            self._closer = None
        elif self._pipe is not None:
            await self._pipe.close()

    def abandon(self) -> None:
        """Free the connection of a loop that was closed before it."""
        if self._pipe is not None:
            self._pipe.bury()


def _fail(result: asyncio.Future[T], failure: Exception) -> None:
    if not result.done():  # else the caller was cancelled
        result.set_exception(failure)


def _settle(result: asyncio.Future[T], then: Callable[[object], T] | None, reply: object) -> None:
    if result.done():
        return  # the caller was cancelled
    try:
        result.set_result(then(reply) if then is not None else cast("T", reply))
    except Exception as error:  # noqa: BLE001 - a reply that cannot be decoded belongs to the caller, not to the transport
        result.set_exception(error)
