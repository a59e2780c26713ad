"""The decorators `metered_model` and `metered_tool`."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, overload

import wrapt

from costscope.metered.functions import coroutine_wrapper, function_wrapper
from costscope.metered.generators import MeteredAsyncGenerator, MeteredGenerator, generator_wrapper
from costscope.metered.options import Options
from costscope.metered.spec import Spec
from costscope.scope.decorated import DecoratedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from costscope.ledger import OnLost
    from costscope.metered.options import OnDeniedOption
    from costscope.observe.telemetry.totals import CallKind
    from costscope.pricing.estimate.amounts import Estimate
    from costscope.pricing.money import MoneyLike
    from costscope.pricing.usage.usage_fields import Usage
    from costscope.scope.runtime import Runtime


class MeteredFunction(DecoratedFunction):
    """A metered function, method, classmethod or staticmethod."""


def meter(
    function: Callable[..., Any], kind: CallKind, name: str | None, options: Options, runtime: Runtime | None
) -> MeteredFunction:
    """Wrap a callable of any kind."""
    if isinstance(function, functools.partial):
        # The function inside is metered: the estimate has to see the arguments that are bound already.
        metered, first, named = (
            meter(function.func, kind, name, options, runtime),
            function.args,
            function.keywords,
        )
        return MeteredFunction(
            function, lambda _, __, args, kwargs: metered(*first, *args, **{**named, **kwargs})
        )
    plain = _plain(function)
    free = bound = Spec(kind, name, options, plain, runtime=runtime)
    if (
        inspect.isfunction(plain)
        and not isinstance(function, staticmethod)
        and inspect.signature(plain).parameters
    ):
        # A descriptor's function sees its first parameter bound before the call reaches us.
        bound = Spec(kind, name, options, plain, runtime=runtime, skip_first=True)

    return MeteredFunction(function, _wrapper(plain, free, bound))


def _wrapper(function: Callable[..., Any], free: Spec, bound: Spec) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return generator_wrapper(MeteredAsyncGenerator, free, bound)
    if inspect.isgeneratorfunction(function):
        return generator_wrapper(MeteredGenerator, free, bound)
    if inspect.iscoroutinefunction(function):
        return coroutine_wrapper(free, bound)
    return function_wrapper(free, bound, hidden=inspect.iscoroutinefunction(inspect.unwrap(function)))


def _plain(function: Any) -> Callable[..., Any]:
    """Return the function under classmethod, staticmethod and callable objects."""
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


F = TypeVar("F", bound="Callable[..., Any]")


class MeterOptions(TypedDict, total=False):
    """The options of both decorators.

    They are not tied to the function's own parameters and result: a checker would narrow the function to what
    the option mentions, or lose its type altogether.
    """

    price: MoneyLike | Mapping[str, MoneyLike] | Callable[[Usage], MoneyLike]
    """An amount per call, amounts per MILLION tokens (`{"input": "0.15", "output": "0.60"}`), or a function of
    the usage; by default the policy's prices, then the price table."""
    estimate: Literal["strict", "capped"] | MoneyLike | Mapping[str, Any] | Estimate | Callable[..., Any]
    """The most a call can cost: `strict` (an upper bound from its arguments), `capped` (the same, with the
    output cut to what the budget can still pay for), an amount, or a function of the call's arguments."""
    usage: Callable[[Any], object]
    """Reads the usage from what the function returned: a `Usage`, a dict, an SDK's usage object, `(input,
    output)`; for a tool, the amount it cost. By default it is read from the shapes the SDKs return."""
    on_error: Literal["charge", "release"] | Callable[[BaseException], Any]
    """What a failed call costs. By default the hold, unless the provider provably did not bill."""
    on_lost: OnLost
    """What becomes of a hold whose process died: `charge` (default) or `release`."""
    idempotency_key: str | Callable[..., str | None]
    """The name of the argument that identifies the call, or a function of the arguments: calls with one key
    are reserved and charged once within a day."""
    on_denied: OnDeniedOption
    """What a refused call does: `"raise"` (default), `Return(value)`, or `Wait("30s")` for calls in flight. Goes before
    what the budget says."""
    stage: str
    """The stage of the work, for the policy's routes; by default the scope's label `stage`."""
    tier: str
    """The service tier of a model's calls, where their arguments do not say it: `"batch"` for results of a batch,
    `"flex"`, `"priority"`. What a response says about its tier goes first; a batch stays one."""
    runtime: Runtime
    """The runtime to act on; by default the one made by `configure`."""


@overload
def metered_model(model: F, /) -> F: ...
@overload
def metered_model(model: str | None = None, /, **options: Unpack[MeterOptions]) -> Callable[[F], F]: ...
def metered_model(model: Any = None, /, **options: Unpack[MeterOptions]) -> Any:
    """Meter a function that calls a model: reserve the most it can cost, call, commit what it did cost.

    Args:
        model: the model's name; bare, or without a name, it is read from the call's `model` argument, which
            also goes first where both are given.
        options: see `MeterOptions`.

    The decorated function raises, before the model is called:
        BudgetExceeded: a limit stands in the way.
        ModelUnpriced: no price is known, or nothing bounds the cost.
        CallUnscoped: no scope is open and the policy says `unscoped: deny`.
        StoreUnavailable: the books could not be reached, and a budget over the scope fails closed.
    """
    return _decorate("model", model, options)


@overload
def metered_tool(name: F, /) -> F: ...
@overload
def metered_tool(name: str | None = None, /, **options: Unpack[MeterOptions]) -> Callable[[F], F]: ...
def metered_tool(name: Any = None, /, **options: Unpack[MeterOptions]) -> Any:
    """Meter a function that is a tool: count its calls, and charge its price if it has one.

    Args:
        name: the tool's name, by default the function's qualified name. Without `price=` and without an entry
            under `prices: tools:` a tool costs nothing and is only counted.
        options: see `MeterOptions`.

    The decorated function raises as with `metered_model`.
    """
    return _decorate("tool", name, options)


def _decorate(kind: Literal["model", "tool"], name: Any, options: MeterOptions) -> Any:
    given: dict[str, Any] = dict(options)
    runtime = given.pop("runtime", None)
    checked = Options(**given)
    if name is None or isinstance(name, str):
        return lambda function: meter(function, kind, name, checked, runtime)
    return meter(name, kind, None, checked, runtime)
