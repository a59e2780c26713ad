"""One asyncio connection: requests go out in order, replies come back in that order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import libvalkey
from valkey.connection import DefaultParser
from valkey.exceptions import ConnectionError as LostConnection
from valkey.exceptions import InvalidResponse, ResponseError
from valkey.exceptions import TimeoutError as NoAnswer

from costscope_valkey.failures import leaves_connection_usable
from costscope_valkey.link import command_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope_valkey.url import ServerAddress

_INCOMPLETE: Final = object()


class Pipe(asyncio.Protocol):
    """The protocol of one connection. Every request is answered exactly once: by a reply or by an exception."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reader = libvalkey.Reader(
            protocolError=InvalidResponse, replyError=DefaultParser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._waiting: deque[tuple[Callable[[object], None], asyncio.TimerHandle]] = deque()
        self._closed: asyncio.Future[None] = loop.create_future()
        self.usable = False
        """False as soon as the connection is lost, broken or given up."""

    def send(self, packed: bytes, on_reply: Callable[[object], None], timeout_s: float) -> None:
        """Send a request; `replied` gets the reply, or an exception as a value, and must not raise."""
        transport = self._transport
        assert transport is not None, "a pipe is used after open_pipe() returned it"
        self._waiting.append((on_reply, self._loop.call_later(timeout_s, self._expire)))
        transport.write(packed)

    async def ask(self, packed: bytes, timeout_s: float) -> object:
        """Send a request and wait for its reply; an error reply is raised."""
        answer: asyncio.Future[object] = self._loop.create_future()

        def on_reply(reply: object) -> None:
            if answer.done():
                return
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        self.send(packed, on_reply, timeout_s)
        return await answer

    async def close(self) -> None:
        """Close, and wait until the transport has let go of its socket."""
        self.give_up(LostConnection("closed by costscope"))
        await asyncio.shield(self._closed)

    def bury(self) -> None:
        """Free the socket when the loop is closed.

        asyncio has no public way to do this: `close` and `abort` ask the closed loop to do the rest. What they
        would ask it to do is called here instead; on other loops than asyncio's the socket went with the loop.
        """
        self.usable = False
        if self._transport is None or self._closed.done():
            return
        with contextlib.suppress(RuntimeError):
            self._transport.abort()
        finish = getattr(self._transport, "_call_connection_lost", None)
        if finish is not None:
            finish(None)

    def give_up(self, reason: Exception) -> None:
        """Never use this connection again and answer all who wait with `reason`."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for on_reply, timer in waiting:
            timer.cancel()
            on_reply(reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport from asyncio."""
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Answer all who wait, when asyncio says that the connection is lost."""
        self.usable = False
        if self._waiting and not self._loop.is_closed():
            self.give_up(LostConnection(str(exc) if exc is not None else "the server closed the connection"))
        if not self._closed.done():
            self._closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are complete."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                if not self._waiting:
                    self.give_up(InvalidResponse("a reply to nothing"))
                    return
                on_reply, timer = self._waiting.popleft()
                timer.cancel()
                if isinstance(reply, Exception) and not leaves_connection_usable(reply):
                    self.give_up(reply)
                on_reply(reply)
        except InvalidResponse as garbage:
            self.give_up(garbage)

    def _expire(self) -> None:
        # a reply that comes later would answer the wrong request
        self.give_up(NoAnswer("no answer in time"))


async def open_pipe(loop: asyncio.AbstractEventLoop, server: ServerAddress) -> Pipe:
    """Connect and log in, each within its time-out.

    Raises:
        OSError, TimeoutError: no connection.
        valkey.exceptions.ValkeyError: the server refused the login.
    """

    def protocol() -> Pipe:
        return Pipe(loop)

    connect_s = server.timeouts.connect_s
    if server.path:
        async with asyncio.timeout(connect_s):
            _, pipe = await loop.create_unix_connection(protocol, server.path)
    else:
        # a TLS handshake takes several round trips after the connection is accepted
        async with asyncio.timeout(connect_s + (server.timeouts.operation_s if server.encrypted else 0)):
            _, pipe = await loop.create_connection(
                protocol, server.host, server.port, ssl=_tls_context(server) if server.encrypted else None
            )
    try:
        await _log_in(pipe, server)
    except BaseException:
        pipe.give_up(LostConnection("the login failed"))
        raise
    return pipe


async def _log_in(pipe: Pipe, server: ServerAddress) -> None:
    timeout_s = server.timeouts.operation_s
    if server.password:
        words = ("AUTH", server.username, server.password) if server.username else ("AUTH", server.password)
        await pipe.ask(command_request(*words).packed, timeout_s)
    # only a name for CLIENT LIST, which a narrow ACL may forbid
    with contextlib.suppress(ResponseError):
        await pipe.ask(command_request("CLIENT", "SETINFO", "LIB-NAME", "costscope").packed, timeout_s)
    if server.db:
        await pipe.ask(command_request("SELECT", server.db).packed, timeout_s)


def _tls_context(server: ServerAddress) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=server.ca_certs)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.cert and server.key:
        context.load_cert_chain(server.cert, server.key)
    return context
