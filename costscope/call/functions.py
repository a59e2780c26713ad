"""Metered functions and coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.call.drive import areserve, asettle, reserve, settle
from costscope.call.streams import metered_stream
from costscope.scope.context import set_ambient_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from costscope.call.spec import Spec

__all__ = ["run_coroutine", "run_function"]


def run_function(spec: Spec, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Reserve, call, commit; a stream that the function returns is settled when it ends."""
    opened = spec.open(args, kwargs)
    if opened is None:
        return wrapped(*args, **kwargs)
    call = opened.call
    reserve(call)
    outer = call.outer
    try:
        if opened.price is not None:
            spec.granted(opened)
        set_ambient_call(call)
        result = wrapped(*opened.args, **opened.kwargs)
    except BaseException as error:
        set_ambient_call(outer)
        settle(call, spec.failed(opened, error))
        raise
    set_ambient_call(outer)
    if spec.kind == "model" and (stream := metered_stream(spec, opened, result)) is not None:
        return stream
    settle(call, spec.finished(opened, result))
    return result


async def run_coroutine(
    spec: Spec, wrapped: Callable[..., Awaitable[Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`run_function` for an event loop."""
    opened = spec.open(args, kwargs)
    if opened is None:
        return await wrapped(*args, **kwargs)
    call = opened.call
    await areserve(call)
    outer = call.outer
    try:
        if opened.price is not None:
            spec.granted(opened)
        set_ambient_call(call)
        result = await wrapped(*opened.args, **opened.kwargs)
    except BaseException as error:
        set_ambient_call(outer)
        await asettle(call, spec.failed(opened, error))
        raise
    set_ambient_call(outer)
    if spec.kind == "model" and (stream := metered_stream(spec, opened, result)) is not None:
        return stream
    await asettle(call, spec.finished(opened, result))
    return result
