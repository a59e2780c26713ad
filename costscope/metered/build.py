"""The call that a metered function makes: where it belongs, what it holds, and where it goes. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zlib import adler32, crc32

import msgspec

from costscope.context import ambient_call
from costscope.engine.call.call_spans import begin_span
from costscope.engine.call.refused import refused_unopened
from costscope.engine.control.effects import NOTHING
from costscope.engine.state.call import Call
from costscope.errors import ModelUnpriced
from costscope.metered.reroute import Detour, effects_over
from costscope.metered.spec import key_of
from costscope.pricing.estimate import Estimate, model_of, tool_estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.metered.reroute import Arguments
    from costscope.metered.spec import Spec
    from costscope.scope.scope import Scope


_encoder: Final = msgspec.json.Encoder()


def digest_of(kind: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """The same number for the same call, in every process.

    Two checksums of 32 bits: calls that differ by chance do not meet, and nobody gains by making them. 0 for arguments that are no plain data:
    their content cannot be compared, and a call that only seems the same must not halt a run.
    """
    try:
        text = _encoder.encode((kind, name, args, kwargs))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return 0
    return crc32(text) << 32 | adler32(text)


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
