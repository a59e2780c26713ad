"""A Lua script and the requests that run it, packed for the wire: pure, shared by both colours."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, TypedDict

import libvalkey
import tenacity

from costscope.stores.backoff import Backoff
from costscope_valkey.failures import is_transient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenacity.retry import retry_base
    from tenacity.stop import stop_base


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


class Request:
    """One request as bytes, and what to send instead when the server does not know the script."""

    __slots__ = ("_operands", "_script", "packed")

    def __init__(
        self, packed: bytes, script: Script | None = None, operands: tuple[Argument, ...] = ()
    ) -> None:
        self.packed = packed
        self._script = script
        self._operands = operands

    def in_full(self) -> Request | None:
        """Return the same with the script's source instead of its hash (EVAL), or None when that makes no difference.

        A server forgets scripts at a restart, a failover and SCRIPT FLUSH; EVAL also teaches it again.
        """
        if self._script is None:
            return None
        return Request(libvalkey.pack_command(("EVAL", self._script.source, *self._operands)))


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
