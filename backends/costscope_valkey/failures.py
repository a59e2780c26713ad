"""What the client library raises, in the terms of `costscope.errors`: one function, for both colours."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import valkey.exceptions as client

from costscope.errors import StoreError, StoreMisconfigured, StoreUnavailable

if TYPE_CHECKING:
    from costscope_valkey.url import ServerAddress

# The code an error reply begins with -> what it means and what to do. The first table heals by itself ...
_TRANSIENT: Final = {
    "LOADING": "it is still loading its books from disk; try again in a moment",
    "READONLY": "it is a read-only replica; connect to the primary, or wait for the failover to end",
    "NOREPLICAS": "too few of its replicas are in touch (min-replicas-to-write); bring them back",
    "CLUSTERDOWN": "its cluster has lost a shard; bring the shard back",
    "MASTERDOWN": "it has lost its primary (replica-serve-stale-data no); wait for the failover to end",
    "BUSY": "another script keeps it busy; find it with SCRIPT KILL or wait",
    "TRYAGAIN": "its cluster is moving the keys of this ledger to another node; try again in a moment",
}
# ... this one needs an operator to make room, so that repeating within half a second is no use ...
_LASTING: Final = {
    "OOM": "its memory is full (maxmemory) and it rightly evicts nothing; raise maxmemory or free some",
    "MISCONF": "it cannot write to its disk and refuses changes; free disk space and look at its log",
}
# ... and these cannot work with this URL or this server.
_HOPELESS: Final = {
    "WRONGPASS": "user or password are wrong; correct them in the URL",
    "NOAUTH": "it asks for a password; put USER:PASSWORD@ into the URL",
    "NOPERM": "the user lacks a permission; see docs/stores.md for the ACL that costscope needs",
    "MOVED": "it is one node of a cluster and does not own the keys of this ledger; give the URL of the node that does",
    "ASK": "it is one node of a cluster and is giving away the keys of this ledger; give the URL of the node that owns them",
}
_CODE_OF: Final[dict[type[Exception], str]] = {
    client.BusyLoadingError: "LOADING",
    client.ReadOnlyError: "READONLY",
    client.OutOfMemoryError: "OOM",
    client.NoPermissionError: "NOPERM",
}

_BY_KIND: Final[tuple[tuple[tuple[type[BaseException], ...], type[StoreError], str], ...]] = (
    (
        (client.AuthenticationError, client.AuthorizationError),
        StoreMisconfigured,
        "the login was refused ({said}); correct USER:PASSWORD@ in the URL",
    ),
    (
        (client.InvalidResponse,),
        StoreMisconfigured,
        "what answers there is not a Valkey ({said}); correct host and port in the URL",
    ),
    (
        (client.TimeoutError, TimeoutError),
        StoreUnavailable,
        "no answer in time; is the server frozen, overloaded or far away?",
    ),
    (
        (client.ConnectionError, OSError),
        StoreUnavailable,
        "no connection ({said}); is the server running there?",
    ),
)


def is_transient(error: BaseException) -> bool:
    """Tell whether repeating the same payload may succeed within the total time-out."""
    if isinstance(error, client.AuthenticationError | client.AuthorizationError) or _tls_refused(error):
        return False
    if isinstance(error, client.TimeoutError | TimeoutError | OSError):
        return True
    code = _code(error)
    return code in _TRANSIENT or (isinstance(error, client.ConnectionError) and not code)


def leaves_connection_usable(error: BaseException) -> bool:
    """Tell whether the error IS the reply, so that the connection stands ready for the next request.

    A replica is left all the same: after a failover the name in the URL leads to the new primary.
    """
    return isinstance(error, client.ResponseError) and _code(error) not in ("READONLY", "MASTERDOWN")


def translate(error: BaseException, server: ServerAddress, spent_s: float) -> StoreError:
    """Return the error of costscope for an error of the client; raise it `from` the original.

    Args:
        error: what a connection raised.
        server: named in the message, without its password.
        spent_s: seconds since the caller asked.
    """
    if isinstance(error, StoreError):
        return error
    kind, text = _explain(error)
    return kind(f"{server} after {spent_s * 1000:.0f} ms: {text}")


def _explain(error: BaseException) -> tuple[type[StoreError], str]:
    said = _text(error)
    code = _code(error)
    if code in _HOPELESS:
        return StoreMisconfigured, f"{code}: {_HOPELESS[code]} (it said: {said})"
    if code:
        return StoreUnavailable, f"{code}: {_TRANSIENT.get(code) or _LASTING[code]}"
    if _tls_refused(error):
        return StoreMisconfigured, f"TLS failed ({said}); check ca_certs, cert, key and the host name"
    for kinds, raised, remedy in _BY_KIND:
        if isinstance(error, kinds):
            return raised, remedy.format(said=said)
    if said.lower().startswith(("unknown command 'eval", "err unknown command 'eval")):
        return StoreMisconfigured, f"it knows no scripts ({said}); use Valkey 7.2 or newer"
    return StoreError, f"the server refused the request ({said})"


def _code(error: BaseException) -> str:
    for known, code in _CODE_OF.items():
        if isinstance(error, known):
            return code
    if isinstance(error, client.AuthenticationError):
        # the client strips the code off; the texts are stable since version 6
        return (
            "NOAUTH"
            if "required" in str(error).lower()
            else "WRONGPASS"
            if "invalid" in str(error).lower()
            else ""
        )
    word = str(error).partition(" ")[0] if isinstance(error, client.ResponseError) else ""
    return word if word in _TRANSIENT or word in _LASTING or word in _HOPELESS else ""


def _tls_refused(error: BaseException) -> bool:
    """Recognize a certificate or handshake problem, also where the client has wrapped it into its own ConnectionError."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and not isinstance(seen, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _text(error: BaseException) -> str:
    """Say it in one short line: replies and system messages come from outside."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
