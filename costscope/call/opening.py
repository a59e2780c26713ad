"""The call that a metered function makes: where it belongs, what it holds, and where it goes. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.ambient import ambient_call
from costscope.call.call import Call
from costscope.call.digest import digest_of
from costscope.call.guided.routed import Detour, effects_over
from costscope.call.idempotency import key_of
from costscope.call.refused import refused_unopened
from costscope.call.span import begin_span
from costscope.control.effects import NOTHING
from costscope.errors import ModelUnpriced
from costscope.estimate import Estimate, model_of, tool_estimate

if TYPE_CHECKING:
    from costscope.call.guided.routed import Arguments
    from costscope.call.spec import Spec
    from costscope.scope.scope import Scope

__all__ = ["begin_call", "open_call"]

EMPTY = Estimate({})
"""Of a call whose model is not decided yet."""


def open_call(
    spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], scope: Scope | None = None
) -> Call | None:
    """The call to reserve; None for one inside another of the same kind and scope: the outermost is charged.

    Raises:
        CallUnscoped, ModelUnpriced: refused before anything was asked of a store.
    """
    if scope is None:
        scope = spec.scope()
    outer = ambient_call()
    if outer is not None and outer.covers(spec.kind, scope):
        return None
    return begin_call(spec, scope, args, kwargs, outer)


def begin_call(
    spec: Spec, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
) -> Call:
    """The call to reserve, whatever is around it.

    Raises:
        ModelUnpriced: refused before anything was asked of a store.
    """
    if spec.kind == "tool":
        call = _tool_call(spec, scope, args, kwargs, outer)
    else:
        try:
            call = _model_call(spec, scope, args, kwargs, outer)
        except ModelUnpriced as error:
            model = model_of(spec.shape.bind(args, kwargs)) or spec.name or spec.function_name
            refused_unopened(error, scope.runtime, "model", model, scope)
            raise
    if spec.options.on_denied is not None:
        call.on_denied = spec.options.on_denied
    if scope.run is not None and scope.run.compares:
        call.digest = digest_of(call.kind, call.asked or call.name, args, kwargs)
    if call.runtime.spans is not None:
        begin_span(call)
    return call


def _tool_call(
    spec: Spec, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
) -> Call:
    name = spec.name or spec.function_name
    options = spec.options
    estimate = spec.fee
    key = None if options.idempotency_key is None else key_of(spec, args, kwargs)
    if estimate is None:
        price = scope.runtime.prices.tool(name)
        estimate = tool_estimate(price) if price is not None else Estimate({"cost": 0, "tool_calls": 1})
    if options.estimate is not None:
        estimate = spec.given_estimate(args, kwargs)
    return Call(scope, "tool", name, estimate, options.on_lost, key, outer)


def _model_call(
    spec: Spec, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
) -> Call:
    options = spec.options
    arguments = spec.shape.bind(args, kwargs)
    model = model_of(arguments) or spec.name
    if model is None:
        msg = f"{spec.function_name}: no model is named; write @metered_model('NAME') or pass model= to the call"
        raise ModelUnpriced(msg)
    detour = _detour(spec, scope, (args, kwargs), arguments, model) if scope.acts else None
    routing = detour.routing() if detour is not None else None
    key = key_of(spec, args, kwargs)
    if detour is not None and routing is not None and (routing.model != model or routing.limits_output):
        call = Call(scope, "model", model, EMPTY, options.on_lost, key, outer)
        detour.take(call, routing)
    else:
        price = spec.price_of(scope, model, asked=model)
        estimate, tier = spec.estimated(model, args, kwargs, arguments, price)
        call = Call(scope, "model", model, estimate, options.on_lost, key, outer)
        call.price = price
        if tier is not None:
            call.tier = tier
    if detour is not None:
        call.detour, call.stage = detour, options.stage or scope.labels.get("stage")
        if call.routing is None:
            call.routing = routing
    return call


def _detour(
    spec: Spec, scope: Scope, given: Arguments, arguments: dict[str, object], model: str
) -> Detour | None:
    """The ways of a call about which policies have something to say."""
    watch, found = scope.watching(), scope.destination(model, spec.options.stage)
    if found is None and watch is None and effects_over(scope) is NOTHING:
        return None
    return Detour(spec, scope, given, arguments, model, found)
