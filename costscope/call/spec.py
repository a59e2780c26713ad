"""What a decorator was told: how its calls are estimated, priced, identified and settled. No I/O."""

from __future__ import annotations

import inspect
import logging
import warnings
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from costscope.call.call import Call
from costscope.call.digest import digest_of
from costscope.call.failures import not_billed
from costscope.call.options import ESTIMATE_MODES, Options
from costscope.call.refused import refused_unopened, scope_for
from costscope.call.routed import Detour, effects_over
from costscope.call.settlement import committing, giving_back, raised
from costscope.call.span import begin_span
from costscope.control.effects import NOTHING
from costscope.errors import InvalidInput, ModelUnpriced, UsageWarning
from costscope.estimate import (
    CallShape,
    Estimate,
    estimate_call,
    given_estimate,
    given_hold,
    model_of,
    settled,
    tier_of,
    tool_estimate,
)
from costscope.prices import FixedPrice, billed_usage
from costscope.runtime.default import get_runtime
from costscope.scope.context import ambient_call, ambient_scope
from costscope.usage import StreamUsage, Usage, coerce_usage, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from costscope.call.routed import Arguments
    from costscope.ledger import Amounts, Commit, Release
    from costscope.prices import Price
    from costscope.runtime.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.telemetry import CallKind

__all__ = ["Spec"]

log = logging.getLogger("costscope")

EMPTY = Estimate({})
"""Of a call whose model is not decided yet."""


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
        self.shape = CallShape(function, skip_first=skip_first)
        self._warned: set[str] = set()
        self.fee: Estimate | None = None
        if kind == "tool" and isinstance(options.price, FixedPrice):
            self.fee = tool_estimate(options.price)

    def like(self, name: str | None, options: Options) -> Spec:
        """The same function under another name, told something else."""
        spec = copy(self)
        spec.name, spec.options, spec.fee = name, options, None
        if self.kind == "tool" and isinstance(options.price, FixedPrice):
            spec.fee = tool_estimate(options.price)
        return spec

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
        return self.begin(scope, args, kwargs, outer)

    def begin(self, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None) -> Call:
        """The call to reserve, whatever is around it.

        Raises:
            ModelUnpriced: refused before anything was asked of a store.
        """
        if self.kind == "tool":
            call = self._open_tool(scope, args, kwargs, outer)
        else:
            try:
                call = self._open_model(scope, args, kwargs, outer)
            except ModelUnpriced as error:
                model = model_of(self.shape.bind(args, kwargs)) or self.name or self.function_name
                refused_unopened(error, scope.runtime, "model", model, scope)
                raise
        if call.runtime.spans is not None:
            begin_span(call)
        return call

    def scope(self) -> Scope:
        """The scope of a call made now: streams remember it until they are first read."""
        runtime = self._given_runtime or get_runtime()
        scope = ambient_scope()
        if scope is not None and scope.runtime is runtime and not scope.closed:
            return scope
        return scope_for(runtime, self.kind, self.name or self.function_name)

    def granted(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call as it is to be made: to its route's model, with the cap that its hold pays for."""
        if call.rewritten is not None:
            args, kwargs = call.rewritten
        cap = call.estimate.cap_for(call.units)
        if cap is None:
            return args, kwargs
        provider = call.price.provider if call.price is not None else None
        return self.shape.with_cap(args, kwargs, cap, provider=provider)

    def _open_tool(
        self, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
    ) -> Call:
        name = self.name or self.function_name
        options = self.options
        estimate = self.fee
        key = None if options.idempotency_key is None else self._key(args, kwargs)
        if estimate is None:
            price = scope.runtime.prices.tool(name)
            estimate = tool_estimate(price) if price is not None else Estimate({"cost": 0, "tool_calls": 1})
        if options.estimate is not None:
            estimate = self._given_estimate(args, kwargs)
        call = Call(scope, "tool", name, estimate, options.on_lost, key, outer)
        if options.on_denied is not None:
            call.on_denied = options.on_denied
        if scope.run is not None and scope.run.compares:
            call.digest = digest_of("tool", name, args, kwargs)
        return call

    def _open_model(
        self, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
    ) -> Call:
        options = self.options
        arguments = self.shape.bind(args, kwargs)
        model = model_of(arguments) or self.name
        if model is None:
            msg = f"{self.function_name}: no model is named; write @metered_model('NAME') or pass model= to the call"
            raise ModelUnpriced(msg)
        detour = self._detour(scope, (args, kwargs), arguments, model) if scope.acts else None
        routing = detour.routing() if detour is not None else None
        key = self._key(args, kwargs)
        if detour is not None and routing is not None and (routing.model != model or routing.limits_output):
            call = Call(scope, "model", model, EMPTY, options.on_lost, key, outer)
            detour.take(call, routing)
        else:
            price = self.price_of(scope, model, asked=model)
            estimate, tier = self.estimated(model, args, kwargs, arguments, price)
            call = Call(scope, "model", model, estimate, options.on_lost, key, outer)
            call.price = price
            if tier is not None:
                call.tier = tier
        if detour is not None:
            call.detour, call.stage = detour, options.stage or scope.labels.get("stage")
            if call.routing is None:
                call.routing = routing
        if options.on_denied is not None:
            call.on_denied = options.on_denied
        if scope.run is not None and scope.run.compares:
            call.digest = digest_of("model", model, args, kwargs)
        return call

    def _detour(
        self, scope: Scope, given: Arguments, arguments: dict[str, object], model: str
    ) -> Detour | None:
        """The ways of a call about which policies have something to say."""
        watch, found = scope.watching(), scope.destination(model, self.options.stage)
        if found is None and watch is None and effects_over(scope) is NOTHING:
            return None
        return Detour(self, scope, given, arguments, model, found)

    def price_of(self, scope: Scope, model: str, *, asked: str) -> Price:
        """The price of a call to this model: the decorator's own, but for another model than it asks for its own.

        Raises:
            ModelUnpriced: none is known.
        """
        own, prices = self.options.price, scope.runtime.prices
        if own is None:
            return prices.require(model)
        return own if model == asked else prices.find(model) or own

    def warn_once(self, problem: str) -> None:
        """Log something about this function that its calls cannot change."""
        if problem not in self._warned:
            self._warned.add(problem)
            log.warning("%s: %s", self.function_name, problem)

    def estimated(
        self,
        model: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arguments: Mapping[str, object],
        price: Price,
    ) -> tuple[Estimate, str | None]:
        """What to hold for a call to this model, and the service tier that it states."""
        options = self.options
        tier = tier_of(arguments, options.tier)
        if options.estimate is None or options.estimate in ESTIMATE_MODES:
            mode: Literal["strict", "capped"] = "capped" if options.estimate == "capped" else "strict"
            estimate = estimate_call(
                arguments,
                price,
                model=model,
                mode=mode,
                tier=tier,
                shape=self.shape,
                more_input=options.input_tokens,
            )
        else:
            estimate = self._given_estimate(args, kwargs)
        return estimate, tier

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
        key = given(*args, **kwargs) if callable(given) else self.shape.bind(args, kwargs).get(given)
        if key is not None and (not isinstance(key, str) or not key):
            msg = f"idempotency_key of {self.function_name}: {key!r:.60} is not a text; name an argument that holds one, or give a function that returns one"
            raise InvalidInput(msg)
        return f"{self.kind}:{self.name or self.function_name}:{key}" if key is not None else None

    # ------------------------------------------------------------------------ after

    def finished(self, call: Call, result: object) -> Commit | None:
        """Settle a call that returned."""
        if self.kind == "tool" and self.options.usage is None:
            return committing(call, None)
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
        return committing(call, None)

    def failed(self, call: Call, error: BaseException) -> Commit | Release | None:
        """Settle a call that raised: release what was provably not billed, else charge the hold."""
        raised(call, error)
        verdict: object = self.options.on_error
        if callable(verdict):
            verdict = self._verdict(error)
        if verdict is None:
            verdict = "release" if not_billed(error) else "charge"
        if verdict == "release":
            return giving_back(call)
        if verdict == "charge":
            return committing(call, None)
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
        command = committing(call, amounts)
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
        usage = billed_usage(usage, call.tier)
        return settled(call.price, usage), usage


def _check_key(key: object, function: Callable[..., object], name: str) -> None:
    """An argument that does not exist identifies nothing: a misspelt name would switch the protection off."""
    if not isinstance(key, str):
        return
    parameters = inspect.signature(function).parameters
    if key not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        msg = f"idempotency_key={key!r}: {name} has no such argument, only {', '.join(parameters) or 'none at all'}"
        raise InvalidInput(msg)


def _warn(message: str) -> None:
    try:
        warnings.warn(message, UsageWarning, stacklevel=2)
    except UsageWarning:  # warnings are errors here: the settlement comes first all the same
        log.warning(message)
