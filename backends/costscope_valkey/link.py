"""Scripts as requests, packed for the wire, and one connection to one server, for threads, within a bounded time."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypedDict, cast

import libvalkey
import tenacity
import valkey.connection
from valkey.exceptions import NoScriptError

from costscope.errors import StoreUnavailable
from costscope.stores.backoff import Backoff
from costscope_valkey.failures import is_transient, leaves_connection_usable, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tenacity.retry import retry_base
    from tenacity.stop import stop_base

    from costscope_valkey.url import ServerAddress


Argument = str | bytes | int


class Script:
    """A Lua script, known to the server by the hash of its text."""

    __slots__ = ("sha", "source")

    source: Final[str]
    sha: Final[str]
    """The hex SHA-1 the server uses as the script's name; not a matter of security."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Request(NamedTuple):
    """One request as bytes, and what to send instead when the server does not know the script."""

    packed: bytes
    script: Script | None = None
    operands: tuple[Argument, ...] = ()

    def in_full(self) -> Request | None:
        """Return the same with the script's source instead of its hash (EVAL), or None when that makes no difference.

        A server forgets scripts at a restart, a failover and SCRIPT FLUSH; EVAL also teaches it again.
        """
        if self.script is None:
            return None
        return Request(libvalkey.pack_command(("EVAL", self.script.source, *self.operands)))


def script_request(script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Request:
    """EVALSHA of `script`; every key it touches stands in `keys`, and numbers among them should be text."""
    operands = (_text(len(keys)), *keys, *args)
    return Request(libvalkey.pack_command(("EVALSHA", script.sha, *operands)), script, operands)


def command_request(*words: Argument) -> Request:
    """Pack a plain command such as `("INFO", "server")`."""
    return Request(libvalkey.pack_command(tuple(map(_text, words))))


def _text(word: Argument) -> str | bytes:
    """Turn a word into what may be packed: libvalkey 4.2.1 crashes when a signal arrives while it turns a number into text."""
    return word if isinstance(word, str | bytes) else str(word)


_FIRST_PAUSE_S = 0.004
_LONGEST_PAUSE_S = 0.064


class Schedule(TypedDict):
    """The keyword arguments of `tenacity.Retrying` and `tenacity.AsyncRetrying`."""

    retry: retry_base
    stop: stop_base
    wait: Backoff
    reraise: bool


def schedule(left_s: float) -> Schedule:
    """Repeat transient failures with the SAME payload until `left_s` seconds are over.

    The payload's ids make a repeat harmless: what was applied is answered, not applied again. The first attempt
    comes at once, for the usual failure is a connection the server closed while it lay idle. Pauses are
    jittered, so that the clients of a server that returns do not arrive in one wave.
    """
    return Schedule(
        retry=tenacity.retry_if_exception(is_transient),
        stop=tenacity.stop_before_delay(left_s),
        wait=Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S),
        reraise=True,
    )


class Forkable(Protocol):
    """Something that must begin anew in a forked child."""

    def after_fork(self) -> None:
        """Drop locks and connections; runs in the child, before any other thread exists there."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child forked from now on, as long as it lives.

    A hook costs nothing on the hot path, where asking `os.getpid()` before each request is a system call.
    """
    _forkables.add(forkable)


def _renew_all() -> None:
    for forkable in list(_forkables):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


class Link:
    """A connection that opens itself, repeats what may be repeated, and never mixes up replies.

    It belongs to one process and may be shared by its threads, one request at a time; `ThreadCoalescer` makes
    one request out of many callers. A reply that was not read (time-out, KeyboardInterrupt) costs the
    connection: the next request gets a new one.
    """

    def __init__(self, server: ServerAddress, *, on_lost: Callable[[], None] | None = None) -> None:
        """Open nothing yet: the first request does.

        Args:
            server: where, with which login and time-outs.
            on_lost: called when a connection failed, before it is tried again; must return at once. The
                embedded store starts its server again here.
        """
        self.server: Final = server
        self._on_lost = on_lost
        self._turn = threading.Lock()
        self._wire = _new_wire(server)
        renew_after_fork(self)

    def call(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> object:
        """Run a script: EVALSHA, and EVAL where the server does not know it yet.

        Args:
            script: must be idempotent for equal `args`, since a lost reply makes it run twice.
            keys: every key the script touches.
            args: the rest.

        Returns:
            The reply as the client library decodes it: int, bytes, None, or lists of these.

        Raises:
            StoreUnavailable: no answer within the total time-out, or a server that cannot serve right now.
            StoreMisconfigured: an answer that repeating will not better: login, permissions, not a Valkey.
            StoreError: any other error reply, such as a failed script.
        """
        return self._perform(script_request(script, keys, args))

    def command(self, *words: Argument) -> object:
        """Run a plain command, such as `link.command("INFO", "server")`; raises as `call` does."""
        return self._perform(command_request(*words))

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        with self._turn:
            self._wire.disconnect()

    def after_fork(self) -> None:
        """Leave the parent's socket to the parent."""
        self._turn = threading.Lock()
        # closes this process' copy of the socket and, since the pid differs, does not shut the stream down
        self._wire.disconnect()
        self._wire = _new_wire(self.server)

    def _perform(self, request: Request) -> object:
        started = time.monotonic()
        with self._turn:
            waited = time.monotonic() - started
            if waited > self.server.timeouts.total_s:
                msg = f"{self.server} after {waited * 1000:.0f} ms: other threads kept the connection busy; it was not asked"
                raise StoreUnavailable(msg)
            try:
                return self._attempt(request)
            except Exception as error:
                if not is_transient(error):
                    raise translate(error, self.server, time.monotonic() - started) from error
            return self._persist(request, started)

    def _persist(self, request: Request, started: float) -> object:
        total_s = self.server.timeouts.total_s
        deadline = started + total_s

        def attempt_again() -> object:
            if self._on_lost is not None and not self._wire.connected:
                self._on_lost()
            # no attempt may outlast the total, nor be so short that it cannot succeed
            self._wire.limit(max(0.01, min(self.server.timeouts.operation_s, deadline - time.monotonic())))
            return self._attempt(request)

        try:
            return tenacity.Retrying(**schedule(deadline - time.monotonic()))(attempt_again)
        except Exception as error:
            raise translate(error, self.server, time.monotonic() - started) from error
        finally:
            self._wire.limit(self.server.timeouts.operation_s)

    def _attempt(self, request: Request) -> object:
        try:
            return self._exchange(request.packed)
        except NoScriptError:
            full = request.in_full()
            if full is None:
                raise
            return self._exchange(full.packed)

    def _exchange(self, packed: bytes) -> object:
        wire = self._wire
        try:
            wire.send_packed_command((packed,), check_health=False)
            return wire.read_response()
        except BaseException as error:
            if not leaves_connection_usable(error):
                wire.disconnect()
            raise


class _Wire(Protocol):
    """What we use of `valkey.connection`, with types."""

    def send_packed_command(self, command: Sequence[bytes], check_health: bool) -> None:
        """Connect if need be, log in, send."""

    def read_response(self) -> object:
        """Wait for one reply; an error reply is raised."""

    def disconnect(self) -> None:
        """Close at once."""

    @property
    def connected(self) -> bool:
        """True from a successful connect to the next disconnect."""

    def limit(self, seconds: float) -> None:
        """Change the time-out of every later send and receive."""


class _Limited(valkey.connection.AbstractConnection):
    """A connection whose time-out can be shortened while it is open."""

    @property
    def connected(self) -> bool:
        return self._sock is not None

    def limit(self, seconds: float) -> None:
        self.socket_timeout = seconds
        if self._sock is not None:
            self._sock.settimeout(seconds)


class _UnixWire(_Limited, valkey.connection.UnixDomainSocketConnection):
    pass


class _TcpWire(_Limited, valkey.connection.Connection):
    pass


class _TlsWire(_Limited, valkey.connection.SSLConnection):
    pass


def _new_wire(server: ServerAddress) -> _Wire:
    common: dict[str, object] = {
        "db": server.db,
        "username": server.username,
        "password": server.password,
        "socket_timeout": server.timeouts.operation_s,
        "socket_connect_timeout": server.timeouts.connect_s,
        "lib_name": "costscope",
        "lib_version": None,
        # the client's own retries stay off (its default): they repeat a script without regard to our deadline
    }
    connection: type[_Limited]
    if server.path:
        connection = _UnixWire
        common |= {"path": server.path}
    else:
        connection = _TlsWire if server.encrypted else _TcpWire
        common |= {"host": server.host, "port": server.port}
    if server.encrypted:
        common |= {
            "ssl_ca_certs": server.ca_certs,
            "ssl_certfile": server.cert,
            "ssl_keyfile": server.key,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,  # off by default there
        }
    return cast("Callable[..., _Wire]", connection)(**common)
