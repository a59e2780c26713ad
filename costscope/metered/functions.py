"""Metered functions and coroutines.

What is ambient is set in place, by one call into C, and not by a method of the call's: Ctrl-C may come at the start of
any Python function, and a call that stays ambient would cover, and so hide, every later one.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any

import wrapt

from costscope.context import set_ambient_call
from costscope.engine.call.call_spans import enter_span, leave_span
from costscope.engine.call.drive import areserve, asettle, post, rescue, reserve, settle
from costscope.engine.call.settle import charging, committing
from costscope.errors import CallDenied
from costscope.metered.build import open_call
from costscope.metered.options import instead_of
from costscope.metered.results import failed, finished
from costscope.metered.streams import metered_stream
from costscope.stores.effects import in_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from costscope.engine.state.call import Call
    from costscope.metered.spec import Spec


def metered_result(spec: Spec, call: Call, result: object) -> object | None:
    """What stands for a result that is not there yet, a stream or a coroutine; None if it is there."""
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
        return self._self_begun().__await__()

    def send(self, value: Any) -> Any:
        """Run to the next wait, as an event loop does."""
        return self._self_begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as a cancellation does."""
        if self._self_running is None:  # it ends before it begins, and so does what it would have awaited
            self.__wrapped__.close()
        return self._self_begun().throw(*error)

    def close(self) -> None:
        """End it; what it may have cost is charged."""
        if self._self_running is not None:
            self._self_running.close()
        self.__wrapped__.close()

    def __del__(self) -> None:
        call = getattr(self, "_self_call", None)
        if call is not None and not call.over:  # dropped without having been awaited: its request may be out
            post(call, charging(call) if call.closed else committing(call, None))

    def _self_begun(self) -> Coroutine[Any, Any, Any]:
        if self._self_running is None:
            self._self_running = self._self_run()
        return self._self_running

    async def _self_run(self) -> Any:
        spec, call = self._self_spec, self._self_call
        assert call is not None, "it runs once"
        try:
            try:
                set_ambient_call(call)
                enter_span(call)
                result = await self.__wrapped__
            except BaseException as error:
                set_ambient_call(call.outer)
                leave_span(call)
                await asettle(call, failed(spec, call, error), error)
                call.over = True
                raise
            set_ambient_call(call.outer)
            leave_span(call)
            if (stream := metered_stream(spec, call, result)) is not None:
                self._self_call = None  # the stream settles it
                return stream
            await asettle(call, finished(spec, call, result))
            call.over = True
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
