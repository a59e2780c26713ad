"""Metered functions and coroutines.

What is ambient is set in place, by one call into C, and not by a method of the call's: Ctrl-C may come at the start of
any Python function, and a call that stays ambient would cover, and so hide, every later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.ambient import set_ambient_call
from costscope.call.denied import instead_of
from costscope.call.drivers.awaited import metered_result
from costscope.call.drivers.drive import areserve, asettle, rescue, reserve, settle
from costscope.call.drivers.streams import metered_stream
from costscope.call.opening import open_call
from costscope.call.results import failed, finished
from costscope.call.span import enter_span, leave_span
from costscope.errors import CallDenied
from costscope.stores.steps import in_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.call.call import Call
    from costscope.call.spec import Spec

__all__ = ["coroutine_wrapper", "function_wrapper"]


def function_wrapper(free: Spec, bound: Spec, *, hidden: bool = False) -> Callable[..., Any]:
    """Reserve, call, commit; a stream or coroutine that the function returns is settled when it ends.

    Args:
        free: what to do when the function is called as it is.
        bound: the same when it is called as a method, without its first argument.
        hidden: the function is a coroutine function that a decorator hides: where its call may have to wait, or
            returns something else, that must be awaited as well.
    """
    later = coroutine_wrapper(free, bound)

    def wrapper(
        wrapped: Callable[..., Any], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        spec = free if instance is None else bound
        call = open_call(spec, args, kwargs)
        if call is None:
            return wrapped(*args, **kwargs)
        if hidden and _must_be_awaited(call):
            return later(wrapped, instance, args, kwargs, call)
        try:
            reserve(call)
        except CallDenied as error:
            return instead_of(call, error)
        try:
            try:
                if call.price is not None:
                    args, kwargs = spec.granted(call, args, kwargs)
                set_ambient_call(call)
                result = (
                    wrapped(*args, **kwargs) if call.span is None else _traced(call, wrapped, args, kwargs)
                )
            except BaseException as error:
                set_ambient_call(call.outer)
                settle(call, failed(spec, call, error))
                call.over = True
                raise
            set_ambient_call(call.outer)
            if spec.kind == "model" and (pending := metered_result(spec, call, result)) is not None:
                return pending
            settle(call, finished(spec, call, result))
            return result
        except Exception:
            raise
        except BaseException:
            rescue(call)
            raise

    return wrapper


def coroutine_wrapper(free: Spec, bound: Spec) -> Callable[..., Any]:
    """`function_wrapper` for an event loop; what it makes may be given a call that is open already."""

    async def wrapper(
        wrapped: Callable[..., Any],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        call: Call | None = None,
    ) -> Any:
        spec = free if instance is None else bound
        if call is None and (call := open_call(spec, args, kwargs)) is None:
            return await wrapped(*args, **kwargs)
        try:
            await areserve(call)
        except CallDenied as error:
            return instead_of(call, error)
        try:
            try:
                if call.price is not None:
                    args, kwargs = spec.granted(call, args, kwargs)
                set_ambient_call(call)
                result = await (
                    wrapped(*args, **kwargs) if call.span is None else _atraced(call, wrapped, args, kwargs)
                )
            except BaseException as error:
                set_ambient_call(call.outer)
                await asettle(call, failed(spec, call, error), error)
                call.over = True
                raise
            set_ambient_call(call.outer)
            if spec.kind == "model" and (stream := metered_stream(spec, call, result)) is not None:
                return stream
            await asettle(call, finished(spec, call, result))
            return result
        except Exception:
            raise
        except BaseException:
            rescue(call)
            raise

    return wrapper


def _must_be_awaited(call: Call) -> bool:
    return call.guided and in_event_loop()


def _traced(call: Call, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the function as a part of the call's span."""
    enter_span(call)
    try:
        return wrapped(*args, **kwargs)
    finally:
        leave_span(call)


async def _atraced(
    call: Call, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """`_traced` for an event loop."""
    enter_span(call)
    try:
        return await wrapped(*args, **kwargs)
    finally:
        leave_span(call)
