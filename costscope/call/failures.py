"""What an exception says about the money: provably not billed, or perhaps gone."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from costscope.errors import NotBilled

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["not_billed"]

_FIRST_ERROR_STATUS: Final = 400
_CAUSES_MAX: Final = 16
_CLIENTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})
_NO_CONNECTION: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
_NEVER_SENT: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})


def not_billed(error: BaseException) -> bool:
    """True if the provider cannot have billed the call.

    That is: it answered with an HTTP status of 400 or more, nobody answered at its address (refused, no route,
    unknown host), or the function itself raised `NotBilled`. Anything else may have cost money: a time-out, a
    broken connection or a cancellation leaves a request that the provider may have worked on.
    """
    for cause in _chain(error):
        if isinstance(cause, NotBilled | ConnectionRefusedError | socket.gaierror):
            return True
        if isinstance(cause, OSError) and cause.errno in _NEVER_SENT:
            return True
        status = _status(cause)
        if status is not None:
            return status >= _FIRST_ERROR_STATUS
        if type(cause).__name__ in _NO_CONNECTION and type(cause).__module__.partition(".")[0] in _CLIENTS:
            return True  # the connection was never made: the request cannot have left
    return False


def _status(error: BaseException) -> int | None:
    """The HTTP status an SDK's exception carries: `status_code` or `code`, on itself or on its response."""
    for source in (error, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            status = getattr(source, name, None)
            if type(status) is int and 100 <= status < 600:  # noqa: PLR2004 - the range of HTTP statuses
                return status
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it was explicitly raised from, or names as its reason (urllib)."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            return
        yield cause
        reason = cause.__cause__ or (getattr(cause, "reason", None) if isinstance(cause, OSError) else None)
        cause = reason if isinstance(reason, BaseException) else None
