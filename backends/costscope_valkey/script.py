"""A Lua script and the requests that run it, packed for the wire: pure, shared by both colours."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import libvalkey

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Argument", "Request", "Script", "command_request", "script_request"]

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
        """The same with the script's source instead of its hash (EVAL), or None when that makes no difference.

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
    """A plain command such as `("INFO", "server")`."""
    return Request(libvalkey.pack_command(tuple(map(_text, words))))


def _text(word: Argument) -> str | bytes:
    """What may be packed: libvalkey 4.2.1 crashes when a signal arrives while it turns a number into text."""
    return word if isinstance(word, str | bytes) else str(word)
