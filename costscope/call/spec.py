"""What a decorator was told: how its calls are estimated, priced, identified and settled. No I/O."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

from costscope.call.call import Call, scope_for
from costscope.call.failures import not_billed
from costscope.errors import InvalidInput, ModelUnpriced, UsageWarning
from costscope.estimate import (
    CallShape,
    Estimate,
    estimate_call,
    given_estimate,
    given_hold,
    model_of,
    settled,
    tool_estimate,
)
from costscope.prices import FixedPrice, price_option
from costscope.runtime.default import get_runtime
from costscope.scope.context import ambient_call, ambient_scope
from costscope.usage import StreamUsage, Usage, coerce_usage, read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.ledger import Amounts, Commit, OnLost, Release
    from costscope.prices import Price
    from costscope.runtime.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.telemetry import CallKind

__all__ = ["Options", "Spec"]

OnError = Literal["charge", "release"] | Callable[[BaseException], Any]
"""What a failed call costs: the hold, nothing, or what the function says: one of these words, or an amount."""

_ESTIMATE_MODES: Final = ("strict", "capped")

log = logging.getLogger("costscope")


class Options:
    """The keyword options of the two decorators, checked once."""

    __slots__ = ("estimate", "idempotency_key", "on_error", "on_lost", "price", "usage")

    def __init__(
        self,
        *,
        price: object = None,
        estimate: object = None,
        usage: Callable[[Any], object] | None = None,
        on_error: OnError | None = None,
        on_lost: OnLost = "charge",
        idempotency_key: str | Callable[..., str | None] | None = None,
    ) -> None:
        self.price: Price | None = None if price is None else price_option(price)
        self.estimate: object = (
            estimate if callable(estimate) or estimate in _ESTIMATE_MODES else _checked(estimate)
        )
        self.usage = usage
        if on_error not in (None, "charge", "release") and not callable(on_error):
            msg = f'on_error={on_error!r}: write "charge", "release", or a function of the exception'
            raise InvalidInput(msg)
        if on_lost not in ("charge", "release"):
            msg = f'on_lost={on_lost!r}: write "charge" (default) or "release"'
            raise InvalidInput(msg)
        reads: object = usage  # a caller without a type checker may give anything
        if reads is not None and not callable(reads):
            msg = f"usage={usage!r:.60}: give a function of what the call returned"
            raise InvalidInput(msg)
        named = isinstance(idempotency_key, str) and idempotency_key
        if idempotency_key is not None and not named and not callable(idempotency_key):
            msg = f"idempotency_key={idempotency_key!r:.60}: name an argument, or give a function of the arguments"
            raise InvalidInput(msg)
        self.on_error = on_error
        self.on_lost = on_lost
        self.idempotency_key = idempotency_key


class Spec:
    """A metered function: its kind and name, its options and its signature."""

    def __init__(
        self,
        kind: CallKind,
        name: str | None,
        options: Options,
        function: Callable[..., object],
        *,
        runtime: Runtime | None = None,
        skip_first: bool = False,
    ) -> None:
        self.kind = kind
        self._calls: Literal["model_calls", "tool_calls"] = "model_calls" if kind == "model" else "tool_calls"
        self.name = name
        self.options = options
        self.function_name: str = getattr(function, "__qualname__", type(function).__qualname__)
        self._given_runtime = runtime
        _check_key(options.idempotency_key, function, self.function_name)
        self._shape = CallShape(function, skip_first=skip_first)
        self._tool_estimate: Estimate | None = None
        if kind == "tool" and isinstance(options.price, FixedPrice):
            self._tool_estimate = tool_estimate(options.price)

    # ----------------------------------------------------------------------- before

    def open(self, args: tuple[Any, ...], kwargs: dict[str, Any], scope: Scope | None = None) -> Call | None:
        """The call to reserve; None for one inside another of the same kind and scope: the outermost is charged.

        Raises:
            CallUnscoped, ModelUnpriced: refused before anything was asked of a store.
        """
        if scope is None:
            scope = self.scope()
        outer = ambient_call()
        if outer is not None and outer.covers(self.kind, scope):
            return None
        if self.kind == "tool":
            return self._open_tool(scope, args, kwargs, outer)
        return self._open_model(scope, args, kwargs, outer)

    def scope(self) -> Scope:
        """The scope of a call made now: streams remember it until they are first read."""
        runtime = self._given_runtime or get_runtime()
        scope = ambient_scope()
        if scope is not None and scope.runtime is runtime and not scope.closed:
            return scope
        return scope_for(runtime)

    def granted(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call with the output cap that its hold pays for."""
        cap = call.estimate.cap_for(call.units)
        if cap is None:
            return args, kwargs
        provider = call.price.provider if call.price is not None else None
        return self._shape.with_cap(args, kwargs, cap, provider=provider)

    def _open_tool(
        self, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
    ) -> Call:
        name = self.name or self.function_name
        options = self.options
        estimate = self._tool_estimate
        key = None if options.idempotency_key is None else self._key(args, kwargs)
        if estimate is None:
            price = scope.runtime.prices.tool(name)
            estimate = tool_estimate(price) if price is not None else Estimate({"cost": 0, "tool_calls": 1})
        if options.estimate is not None:
            estimate = self._given_estimate(args, kwargs)
        return Call(scope, "tool", name, estimate, options.on_lost, key, outer)

    def _open_model(
        self, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
    ) -> Call:
        options = self.options
        arguments = self._shape.bind(args, kwargs)
        model = model_of(arguments) or self.name
        if model is None:
            msg = f"{self.function_name}: no model is named; write @metered_model('NAME') or pass model= to the call"
            raise ModelUnpriced(msg)
        try:
            price = options.price or scope.runtime.prices.require(model)
        except ModelUnpriced:
            scope.totals.denial("unpriced")
            raise
        if options.estimate is None or options.estimate in _ESTIMATE_MODES:
            mode: Literal["strict", "capped"] = "capped" if options.estimate == "capped" else "strict"
            estimate = estimate_call(arguments, price, model=model, mode=mode, shape=self._shape)
        else:
            estimate = self._given_estimate(args, kwargs)
        call = Call(scope, "model", model, estimate, options.on_lost, self._key(args, kwargs), outer)
        call.price = price
        return call

    def _given_estimate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Estimate:
        given = self.options.estimate
        if callable(given):
            given = given(*args, **kwargs)
        return given_hold(given, calls=self._calls)

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """The idempotency key of a call: an argument's value, or what the user's function makes of them all."""
        given = self.options.idempotency_key
        if given is None:
            return None
        key = given(*args, **kwargs) if callable(given) else self._shape.bind(args, kwargs).get(given)
        if key is not None and (not isinstance(key, str) or not key):
            msg = f"idempotency_key of {self.function_name}: {key!r:.60} is not a text; name an argument that holds one, or give a function that returns one"
            raise InvalidInput(msg)
        return f"{self.kind}:{self.name or self.function_name}:{key}" if key is not None else None

    # ------------------------------------------------------------------------ after

    def finished(self, call: Call, result: object) -> Commit | None:
        """Settle a call that returned."""
        if self.kind == "tool" and self.options.usage is None:
            return call.committing(None)
        return self._commit_usage(call, lambda: self._actual(call, result))

    def streamed(self, call: Call, usage: StreamUsage, last: object = None) -> Commit | None:
        """Settle a stream that ended by itself, or whose usage is known to be complete."""
        if self.kind == "tool":
            return self.finished(call, last)
        if self.options.usage is not None and last is not None:
            return self.finished(call, last)
        return self._commit_usage(call, lambda: self._priced(call, usage.usage() or read_usage(last)))

    def broken(self, call: Call, usage: StreamUsage) -> Commit | None:
        """Settle a stream that was left early: with its usage when that came, else with the whole hold."""
        if usage.complete and self.kind == "model":
            return self.streamed(call, usage)
        return call.committing(None)

    def failed(self, call: Call, error: BaseException) -> Commit | Release | None:
        """Settle a call that raised: release what was provably not billed, else charge the hold."""
        call.outcome = "error"
        verdict: object = self.options.on_error
        if callable(verdict):
            verdict = self._verdict(error)
        if verdict is None:
            verdict = "release" if not_billed(error) else "charge"
        if verdict == "release":
            return call.giving_back()
        if verdict == "charge":
            return call.committing(None)
        return self._commit_usage(call, lambda: (given_estimate(verdict, calls=self._calls).amounts, None))

    def _verdict(self, error: BaseException) -> object:
        assert callable(self.options.on_error), "only asked when it is"
        try:
            return self.options.on_error(error)
        except Exception as broken:  # noqa: BLE001 - the user's function must not lose a settlement
            _warn(f"on_error of {self.function_name} raised {broken!r}; the default rule decides")
            return None

    def _commit_usage(
        self, call: Call, measure: Callable[[], tuple[Mapping[str, int] | None, Usage | None]]
    ) -> Commit | None:
        problem = ""
        amounts: Mapping[str, int] | None = None
        try:
            amounts, call.usage = measure()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the usage, the call was made
            problem = f"{self.function_name}: {error}; the estimate is charged"
        command = call.committing(amounts)
        if problem:
            _warn(problem)
        return command

    def _actual(self, call: Call, result: object) -> tuple[Amounts | None, Usage | None]:
        if self.options.usage is None:
            return self._priced(call, read_usage(result))
        value = self.options.usage(result)
        if self.kind == "tool":
            return (None if value is None else given_estimate(value, calls="tool_calls").amounts), None
        return self._priced(call, coerce_usage(value))

    def _priced(self, call: Call, usage: Usage | None) -> tuple[Amounts | None, Usage | None]:
        if usage is None or call.price is None:
            return None, usage
        return settled(call.price, usage), usage


def _check_key(key: object, function: Callable[..., object], name: str) -> None:
    """An argument that does not exist identifies nothing: a misspelt name would switch the protection off."""
    if not isinstance(key, str):
        return
    parameters = inspect.signature(function).parameters
    if key not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        msg = f"idempotency_key={key!r}: {name} has no such argument, only {', '.join(parameters) or 'none at all'}"
        raise InvalidInput(msg)


def _checked(estimate: object) -> object:
    if estimate is not None:
        given_estimate(estimate)
    return estimate


def _warn(message: str) -> None:
    try:
        warnings.warn(message, UsageWarning, stacklevel=2)
    except UsageWarning:  # warnings are errors here: the settlement comes first all the same
        log.warning(message)
