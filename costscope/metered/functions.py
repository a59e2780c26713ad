"""Metered functions and coroutines.

The current call is set in place, by one call into C, and not by a method of the call's: Ctrl-C may come at the start of
any Python function, and a call that stays current would cover, and so hide, every later one.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any

import wrapt

from costscope.context import set_current_call
from costscope.engine.call.drive import areserve, asettle, enqueue_settlement, rescue, reserve, settle
from costscope.engine.enforcement.refusals import value_instead
from costscope.errors import CallDenied
from costscope.metered.build import open_call
from costscope.metered.results import error_command, result_command
from costscope.metered.streams import metered_stream
from costscope.stores.effects import in_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from costscope.engine.state.call import Call
    from costscope.metered.spec import Spec
    from costscope.observe.telemetry.spans import SpanHandle


def metered_result(spec: Spec, call: Call, result: object) -> object | None:
    """Return what stands for a result that is not there yet, a stream or a coroutine; None if it is there."""
    if isinstance(result, CoroutineType):
        return AwaitedCall(spec, call, result)
    return metered_stream(spec, call, result)


class AwaitedCall(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # generic in wrapt's stubs only, not at run time
    """The coroutine of a metered call: it may be awaited, made a task of, or be dropped, which is charged."""

    def __init__(self, spec: Spec, call: Call, wrapped: Coroutine[Any, Any, Any]) -> None:
        super().__init__(wrapped)
        self._self_spec = spec
        self._self_call: Call | None = call
        self._self_running: Coroutine[Any, Any, Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_start().__await__()

    def send(self, value: Any) -> Any:
        """Run to the next wait, as an event loop does."""
        return self._self_start().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as a cancellation does."""
        if self._self_running is None:  # it ends before it begins, and so does what it would have awaited
            self.__wrapped__.close()
        return self._self_start().throw(*error)

    def close(self) -> None:
        """End it; what it may have cost is charged."""
        if self._self_running is not None:
            self._self_running.close()
        self.__wrapped__.close()

    def __del__(self) -> None:
        call = getattr(self, "_self_call", None)
        if call is not None and not call.over:  # dropped without having been awaited: its request may be out
            enqueue_settlement(call, call.charge_command())

    def _self_start(self) -> Coroutine[Any, Any, Any]:
        if self._self_running is None:
            self._self_running = self._self_run()
        return self._self_running

    async def _self_run(self) -> Any:
        spec, call = self._self_spec, self._self_call
        assert call is not None, "it runs once"
        try:
            try:
                set_current_call(call)
                if call.span is not None:
                    call.span.enter()
                result = await self.__wrapped__
            except BaseException as error:
                set_current_call(call.outer)
                if call.span is not None:
                    call.span.leave()
                await asettle(call, error_command(spec, call, error), error)
                raise
            set_current_call(call.outer)
            if call.span is not None:
                call.span.leave()
            if (stream := metered_stream(spec, call, result)) is not None:
                self._self_call = None  # the stream settles it
                return stream
            await asettle(call, result_command(spec, call, result))
            return result
        except Exception:
            raise
        except BaseException:
            rescue(call)
            raise


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
        if hidden and call.may_wait and in_event_loop():
            return later(wrapped, instance, args, kwargs, call)
        try:
            reserve(call)
        except CallDenied as error:
            return value_instead(call.scope, call.on_denied, error)
        try:
            try:
                if call.price is not None:
                    args, kwargs = spec.granted_arguments(call, args, kwargs)
                set_current_call(call)
                result = (
                    wrapped(*args, **kwargs)
                    if call.span is None
                    else _call_in_span(call.span, wrapped, args, kwargs)
                )
            except BaseException as error:
                set_current_call(call.outer)
                settle(call, error_command(spec, call, error))
                raise
            set_current_call(call.outer)
            if spec.kind == "model" and (pending := metered_result(spec, call, result)) is not None:
                return pending
            settle(call, call.commit_command() if spec.charges_hold else result_command(spec, call, result))
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
            return value_instead(call.scope, call.on_denied, error)
        try:
            try:
                if call.price is not None:
                    args, kwargs = spec.granted_arguments(call, args, kwargs)
                set_current_call(call)
                result = await (
                    wrapped(*args, **kwargs)
                    if call.span is None
                    else _await_in_span(call.span, wrapped, args, kwargs)
                )
            except BaseException as error:
                set_current_call(call.outer)
                await asettle(call, error_command(spec, call, error), error)
                raise
            set_current_call(call.outer)
            if spec.kind == "model" and (stream := metered_stream(spec, call, result)) is not None:
                return stream
            await asettle(call, result_command(spec, call, result))
            return result
        except Exception:
            raise
        except BaseException:
            rescue(call)
            raise

    return wrapper


def _call_in_span(
    span: SpanHandle, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call the function as a part of the call's span."""
    span.enter()
    try:
        return wrapped(*args, **kwargs)
    finally:
        span.leave()


async def _await_in_span(
    span: SpanHandle, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Await the function as a part of the call's span."""
    span.enter()
    try:
        return await wrapped(*args, **kwargs)
    finally:
        span.leave()
