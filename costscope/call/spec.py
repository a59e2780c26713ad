"""A metered function: what its decorator was told, and what follows from that for each of its calls. No I/O."""

from __future__ import annotations

import logging
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from costscope.ambient import ambient_scope
from costscope.call.idempotency import check_key
from costscope.call.options import ESTIMATE_MODES, Options
from costscope.call.refused import scope_for
from costscope.estimate import CallShape, Estimate, estimate_call, given_hold, tier_of, tool_estimate
from costscope.prices import FixedPrice
from costscope.runtime.default import get_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from costscope.call.call import Call
    from costscope.prices import Price
    from costscope.runtime.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.telemetry import CallKind

__all__ = ["Spec"]

log = logging.getLogger("costscope")


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
        self.calls_meter: Literal["model_calls", "tool_calls"]
        self.calls_meter = "model_calls" if kind == "model" else "tool_calls"
        """What counts its calls."""
        self.name = name
        self.options = options
        self.function_name: str = getattr(function, "__qualname__", type(function).__qualname__)
        self._given_runtime = runtime
        check_key(options.idempotency_key, function, self.function_name)
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
            estimate = self.given_estimate(args, kwargs)
        return estimate, tier

    def given_estimate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Estimate:
        """What `estimate=` says to hold for this call."""
        given = self.options.estimate
        if callable(given):
            given = given(*args, **kwargs)
        return given_hold(given, calls=self.calls_meter)
