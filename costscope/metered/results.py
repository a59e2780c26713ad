"""What a call took, by what its function returned, streamed or raised: the command that settles it. No I/O."""

from __future__ import annotations

import errno
import logging
import socket
import warnings
from typing import TYPE_CHECKING, Final

from costscope.errors import NotBilled, UsageWarning
from costscope.pricing.estimate.amounts import given_estimate, settled_amounts
from costscope.pricing.prices.tiers import billed_usage
from costscope.pricing.usage.shapes import coerce_usage, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from costscope.engine.state.call import Call
    from costscope.ledger import Amounts, Commit, Release
    from costscope.metered.spec import Spec
    from costscope.pricing.usage.stream_usage import StreamUsage
    from costscope.pricing.usage.usage_fields import Usage


_FIRST_ERROR_STATUS: Final = 400
_CAUSES_MAX: Final = 16
_CLIENTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})
_NO_CONNECTION: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
_NEVER_SENT: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})


def not_billed(error: BaseException) -> bool:
    """Return True if the provider cannot have billed the call.

    That is: it answered with an HTTP status of 400 or more, no one answered at its address (refused, no route,
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
    """Return the HTTP status an SDK's exception carries: `status_code` or `code`, on itself or on its response."""
    for source in (error, getattr(error, "response", None)):
        for name in ("status_code", "code"):
            status = getattr(source, name, None)
            if type(status) is int and 100 <= status < 600:  # noqa: PLR2004 - the range of HTTP statuses
                return status
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return the exception and what it was explicitly raised from, or names as its reason (urllib)."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            return
        yield cause
        reason = cause.__cause__ or (getattr(cause, "reason", None) if isinstance(cause, OSError) else None)
        cause = reason if isinstance(reason, BaseException) else None


log = logging.getLogger("costscope")


def result_command(spec: Spec, call: Call, result: object) -> Commit | None:
    """Return what settles a call that returned."""
    if spec.kind == "tool" and spec.options.usage is None:
        return call.commit_command()
    return _commit_usage(spec, call, lambda: _actual(spec, call, result))


def stream_command(spec: Spec, call: Call, usage: StreamUsage, last: object = None) -> Commit | None:
    """Return what settles a stream that ended by itself, or whose usage is known to be complete."""
    if spec.kind == "tool":
        return result_command(spec, call, last)
    if spec.options.usage is not None and last is not None:
        return result_command(spec, call, last)
    return _commit_usage(spec, call, lambda: price_usage(call, usage.usage() or read_usage(last)))


def broken_stream_command(spec: Spec, call: Call, usage: StreamUsage) -> Commit | None:
    """Return what settles a stream that was left early: with its usage when that came, else with the whole hold."""
    if usage.complete and spec.kind == "model":
        return stream_command(spec, call, usage)
    return call.commit_command()


def error_command(spec: Spec, call: Call, error: BaseException) -> Commit | Release | None:
    """Return what settles a call that raised: release what was provably not billed, else charge the hold."""
    call.fail(error)
    verdict: object = spec.options.on_error
    if callable(verdict):
        verdict = _verdict(spec, error)
    if verdict is None:
        verdict = "release" if not_billed(error) else "charge"
    if verdict == "release":
        return call.release_command()
    if verdict == "charge":
        return call.commit_command()
    return _commit_usage(spec, call, lambda: (given_estimate(verdict, calls=spec.calls_meter).amounts, None))


def price_usage(call: Call, usage: Usage | None) -> tuple[Amounts | None, Usage | None]:
    """Return the usage as the provider bills it, and what it comes to; None charges the hold."""
    if usage is None or call.price is None:
        return None, usage
    if call.tier is not None:  # else the usage has the tier that it is billed at
        usage = billed_usage(usage, call.tier)
    return settled_amounts(call.price, usage), usage


def _verdict(spec: Spec, error: BaseException) -> object:
    assert callable(spec.options.on_error), "only asked when it is"
    try:
        return spec.options.on_error(error)
    except Exception as broken:  # noqa: BLE001 - the user's function must not lose a settlement
        _warn(f"on_error of {spec.function_name} raised {broken!r}; the default rule decides")
        return None


def _commit_usage(
    spec: Spec, call: Call, measure: Callable[[], tuple[Mapping[str, int] | None, Usage | None]]
) -> Commit | None:
    problem = ""
    amounts: Mapping[str, int] | None = None
    usage: Usage | None = None
    try:
        amounts, usage = measure()
    except Exception as error:  # noqa: BLE001 - the call was made, with usage or without
        problem = f"{spec.function_name}: {error}; the estimate is charged"
    command = call.commit_usage(amounts, usage)
    if problem:
        _warn(problem)
    return command


def _actual(spec: Spec, call: Call, result: object) -> tuple[Amounts | None, Usage | None]:
    if spec.options.usage is None:
        return price_usage(call, read_usage(result))
    value = spec.options.usage(result)
    if spec.kind == "tool":
        return (None if value is None else given_estimate(value, calls="tool_calls").amounts), None
    return price_usage(call, coerce_usage(value))


def _warn(message: str) -> None:
    try:
        warnings.warn(message, UsageWarning, stacklevel=2)
    except UsageWarning:  # warnings are errors here: the settlement comes first all the same
        log.warning(message)
