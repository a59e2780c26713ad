"""The wrapper that a decorated function becomes: classified once, bound like the function itself."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import wrapt

from costscope.call.drivers.functions import coroutine_wrapper, function_wrapper
from costscope.call.drivers.generators import MeteredAsyncGenerator, MeteredGenerator, generator_wrapper
from costscope.call.spec import Spec
from costscope.scope.wrapper import DecoratedFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.call.options import Options
    from costscope.runtime.runtime import Runtime
    from costscope.telemetry import CallKind

__all__ = ["MeteredFunction", "meter"]


class MeteredFunction(DecoratedFunction):
    """A metered function, method, classmethod or staticmethod."""


def meter(
    function: Callable[..., Any], kind: CallKind, name: str | None, options: Options, runtime: Runtime | None
) -> MeteredFunction:
    """Wrap a callable of any kind."""
    if isinstance(function, functools.partial):
        return _meter_partial(function, kind, name, options, runtime)
    plain = _plain(function)
    free = bound = Spec(kind, name, options, plain, runtime=runtime)
    if inspect.isfunction(plain) and not isinstance(function, staticmethod) and _has_parameters(plain):
        # A descriptor's function sees its first parameter bound before the call reaches us.
        bound = Spec(kind, name, options, plain, runtime=runtime, skip_first=True)

    return MeteredFunction(function, _wrapper(plain, free, bound))


def _meter_partial(
    partial: functools.partial[Any],
    kind: CallKind,
    name: str | None,
    options: Options,
    runtime: Runtime | None,
) -> MeteredFunction:
    """The function inside is metered: the estimate has to see the arguments that are bound already."""
    metered = meter(partial.func, kind, name, options, runtime)

    def wrapper(_: Callable[..., Any], __: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return metered(*partial.args, *args, **{**partial.keywords, **kwargs})

    return MeteredFunction(partial, wrapper)


def _wrapper(function: Callable[..., Any], free: Spec, bound: Spec) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return generator_wrapper(MeteredAsyncGenerator, free, bound)
    if inspect.isgeneratorfunction(function):
        return generator_wrapper(MeteredGenerator, free, bound)
    if inspect.iscoroutinefunction(function):
        return coroutine_wrapper(free, bound)
    return function_wrapper(free, bound, hidden=inspect.iscoroutinefunction(inspect.unwrap(function)))


def _plain(function: Any) -> Callable[..., Any]:
    """The function under classmethod, staticmethod and callable objects."""
    while True:
        if isinstance(function, classmethod | staticmethod):
            function = function.__func__
        elif inspect.isroutine(function) or isinstance(function, wrapt.FunctionWrapper):
            return function
        elif isinstance(function, type) or not callable(function):
            msg = f"{function!r} cannot be metered: decorate a function, a method or a callable object"
            raise TypeError(msg)
        else:
            function = function.__call__  # bound: its signature has no `self`


def _has_parameters(function: Callable[..., Any]) -> bool:
    return bool(inspect.signature(function).parameters)
