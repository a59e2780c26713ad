"""A metered function: what its decorator was told, and what follows from that for each of its calls. No I/O."""

from __future__ import annotations

import inspect
import logging
from copy import copy
from typing import TYPE_CHECKING, Any, Literal

from costscope.engine.state.route import Arguments
from costscope.errors import InvalidInput
from costscope.metered.options import ESTIMATE_MODES, Options
from costscope.pricing.estimate.amounts import Estimate, given_hold, tool_estimate
from costscope.pricing.estimate.arguments import CallShape, tier_of
from costscope.pricing.estimate.model_call import estimate_call
from costscope.pricing.prices.option import FixedPrice
from costscope.scope.runtime import services_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from costscope.engine.state.call import Call
    from costscope.engine.state.services import Services
    from costscope.ledger import OnLost
    from costscope.observe.telemetry.totals import CallKind
    from costscope.pricing.estimate.model_call import Described
    from costscope.pricing.prices.book import PriceBook
    from costscope.pricing.prices.option import Price
    from costscope.scope.runtime import Runtime


def check_key(key: object, function: Callable[..., object], name: str) -> None:
    """Refuse an argument that does not exist: it identifies nothing, and a misspelt name would switch the protection off."""
    if not isinstance(key, str):
        return
    parameters = inspect.signature(function).parameters
    if key not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        msg = f"idempotency_key={key!r}: {name} has no such argument, only {', '.join(parameters) or 'none at all'}"
        raise InvalidInput(msg)


def key_of(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Return the idempotency key of a call: an argument's value, or what the user's function makes of them all."""
    given = spec.options.idempotency_key
    if given is None:
        return None
    key = given(*args, **kwargs) if callable(given) else spec.shape.bind(args, kwargs).get(given)
    if key is not None and (not isinstance(key, str) or not key):
        msg = f"idempotency_key of {spec.function_name}: {key!r:.60} is not a text; name an argument that holds one, or give a function that returns one"
        raise InvalidInput(msg)
    return f"{spec.kind}:{spec.name or spec.function_name}:{key}" if key is not None else None


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
        self.function_name: str = getattr(function, "__qualname__", type(function).__qualname__)
        self.services: Services | None = None if runtime is None else services_of(runtime)
        """Of the runtime that was given; None: those of the default one."""
        check_key(options.idempotency_key, function, self.function_name)
        self.shape = CallShape(function, skip_first=skip_first)
        self._warned: set[str] = set()
        self.configure(name, options)

    def configure(self, name: str | None, options: Options) -> Spec:
        """Take what its decorator is told."""
        self.name, self.options = name, options
        self.charges_hold = self.kind == "tool" and options.usage is None
        """What its calls hold is what they cost: nothing is read from the result."""
        self.fee: Estimate | None = None
        if self.kind == "tool" and isinstance(options.price, FixedPrice):
            self.fee = tool_estimate(options.price)
        return self

    def like(self, name: str | None, options: Options) -> Spec:
        """Return the same function under another name, told something else."""
        return copy(self).configure(name, options)

    def granted_arguments(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the call as it is to be made: to its route's model, with the cap that its hold pays for."""
        if call.route is not None and call.route.rewritten is not None:
            args, kwargs = call.route.rewritten
        estimate = call.estimate
        cap = estimate.cap_for(call.units) if estimate.units_max else estimate.needs_cap
        if cap is None:
            return args, kwargs
        provider = call.price.provider if call.price is not None else None
        return self.shape.with_cap(args, kwargs, cap, provider=provider)

    def price_of(self, prices: PriceBook, model: str, *, asked: str) -> Price:
        """Return the price of a call to this model: the decorator's own, but for another model than it asks for its own.

        Raises:
            ModelUnpriced: none is known.
        """
        own = self.options.price
        if own is None:
            return prices.require(model)
        return own if model == asked else prices.find(model) or own

    def warn_once(self, problem: str) -> None:
        """Log something about this function that its calls cannot change."""
        if problem not in self._warned:
            self._warned.add(problem)
            log.warning("%s: %s", self.function_name, problem)

    def estimate(
        self,
        model: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arguments: Mapping[str, object],
        price: Price,
    ) -> tuple[Estimate, str | None]:
        """Return what to hold for a call to this model, and the service tier that it states."""
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
        """Return what `estimate=` says to hold for this call."""
        given = self.options.estimate
        if callable(given):
            given = given(*args, **kwargs)
        return given_hold(given, calls=self.calls_meter)


DescribedCall = tuple[Spec, Arguments]
"""A call that is described rather than made: how it is estimated and settled, and what it is called with.

It is handled as if it were a call of a function that takes anything, so it goes through the same estimates, routes and
settlements as those of decorated functions."""


def before_model_call(**request: object) -> None:
    """Stand for the shape of every model call: it may have any argument."""


def before_tool_call(*values: object, **arguments: object) -> None:
    """Stand for the shape of every tool call."""


_MODEL = Spec("model", None, Options(), before_model_call)
_TOOL = Spec("tool", None, Options(), before_tool_call)


def described_model(options: Options) -> Spec:
    """Return how a model call is estimated, routed and settled; its arguments name the model."""
    return _MODEL.like(None, options)


def described_tool(name: str, options: Options) -> Spec:
    """Return how a call of this tool is estimated and settled."""
    return _TOOL.like(name, options)


def model_arguments(
    model: str, messages: object, max_tokens: int | None, request: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the arguments of a model call, under the names that the estimate looks for."""
    arguments: dict[str, Any] = {"model": model, **(request or {})}
    if messages is not None:
        arguments["messages"] = messages
    if max_tokens is not None:
        arguments["max_tokens"] = max_tokens
    return arguments


def key_function(key: str | None) -> Callable[..., str] | None:
    """Return an idempotency key that is known, as the function that a decorator is given."""
    return None if key is None else lambda *_, **__: key


def routed_call(
    call: Described, stage: str | None, *, routed: bool, on_lost: OnLost, key: str | None
) -> DescribedCall:
    """Describe a model call that goes where its route says.

    Raises:
        InvalidInput: it is a tool's, or has a stage and is not to be routed.
    """
    model = call.get("model")
    if model is None or call.get("tool") is not None or not routed:
        what = "routed=" if stage is None else "stage="
        msg = f"{what} is about model calls with routed=True, whose caller calls `hold.model` with `hold.max_tokens`"
        raise InvalidInput(msg)
    options = Options(
        price=call.get("price"),
        estimate=call.get("estimate"),
        on_lost=on_lost,
        idempotency_key=key_function(key),
        stage=stage,
        tier=call.get("tier"),
        input_tokens=call.get("input_tokens"),
    )
    arguments = model_arguments(model, call.get("input_text"), call.get("max_output_tokens"))
    return described_model(options), ((), arguments)
