"""The call that a metered function makes: where it belongs, what it holds, and where it goes. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zlib import adler32, crc32

import msgspec

from costscope.context import current_call, current_scope
from costscope.engine.control.effects import NOTHING
from costscope.engine.enforcement.refusal_events import emit_call_refused
from costscope.engine.enforcement.refusals import call_unscoped
from costscope.engine.state.call import Call
from costscope.engine.state.scope_state import open_scope_of, outside_scope
from costscope.errors import ModelUnpriced
from costscope.metered.reroute import CallRoutes, effects_over
from costscope.metered.spec import key_of
from costscope.pricing.estimate.amounts import Estimate, tool_estimate
from costscope.pricing.estimate.arguments import model_of
from costscope.scope.default_runtime import default, get_runtime
from costscope.scope.runtime import services_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.state.route import Arguments
    from costscope.engine.state.scope_state import ScopeState
    from costscope.engine.state.services import Services
    from costscope.metered.spec import Spec
    from costscope.observe.telemetry.totals import CallKind

_UNDECIDED: Final = Estimate({})
"""Of a call whose model is not decided yet."""

_encoder: Final = msgspec.json.Encoder()


def scope_of(spec: Spec) -> ScopeState:
    """Return the scope of a call made now: streams remember it until they are first read.

    Raises:
        CallUnscoped: there is none, and the policy does not allow that.
    """
    services = spec.services or default.services or services_of(get_runtime())
    scope: ScopeState | None = current_scope()
    if scope is not None and scope.services is services and not scope.closed:
        return scope
    return scope_for(services, spec.kind, spec.name or spec.function_name)


def scope_for(services: Services, kind: CallKind, name: str) -> ScopeState:
    """Return the scope that a call made now belongs to.

    Raises:
        CallUnscoped: there is none, and the policy does not allow that.
    """
    scope = open_scope_of(services, current_scope())
    if scope is not None:
        return scope
    outside = outside_scope(services)
    if services.unscoped == "allow":
        return outside
    error = call_unscoped()
    emit_call_refused(outside, kind, name, error)
    raise error


def open_call(
    spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], scope: ScopeState | None = None
) -> Call | None:
    """Return the call to reserve; None for one inside another of the same kind and scope: the outermost is charged.

    Raises:
        CallUnscoped, ModelUnpriced: refused before anything was asked of a store.
    """
    if scope is None:
        scope = scope_of(spec)
    outer: Call | None = current_call()
    if outer is not None and outer.covers(spec.kind, scope):
        return None
    return build_call(spec, scope, args, kwargs, outer)


def build_call(
    spec: Spec, scope: ScopeState, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
) -> Call:
    """Return the call to reserve, from its arguments and the scope around it.

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
            emit_call_refused(scope, "model", model, error)
            raise
    on_denied, run = spec.options.on_denied, scope.run
    compared = run is not None and run.compares
    if on_denied is not None or compared:
        digest = digest_of(call.kind, call.asked or call.name, args, kwargs) if compared else 0
        call.describe(on_denied=on_denied, digest=digest)
    if scope.services.spans is not None:
        call.begin_span()
    return call


def digest_of(kind: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Return the same number for the same call, in every process.

    Two checksums of 32 bits: calls that differ by chance do not meet, and nothing is gained by making them. 0 for
    arguments that are no plain data: their content cannot be compared, and a call that only seems the same must not
    halt a run.
    """
    try:
        text = _encoder.encode((kind, name, args, kwargs))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return 0
    return crc32(text) << 32 | adler32(text)


def _tool_call(
    spec: Spec, scope: ScopeState, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
) -> Call:
    name = spec.name or spec.function_name
    options = spec.options
    estimate = spec.fee
    key = None if options.idempotency_key is None else key_of(spec, args, kwargs)
    if estimate is None:
        price = scope.services.prices.tool(name)
        estimate = tool_estimate(price) if price is not None else Estimate({"cost": 0, "tool_calls": 1})
    if options.estimate is not None:
        estimate = spec.given_estimate(args, kwargs)
    return Call(scope, "tool", name, estimate, options.on_lost, key, outer)


def _model_call(
    spec: Spec, scope: ScopeState, args: tuple[Any, ...], kwargs: dict[str, Any], outer: Call | None
) -> Call:
    options = spec.options
    arguments = spec.shape.bind(args, kwargs)
    model = model_of(arguments) or spec.name
    if model is None:
        msg = f"{spec.function_name}: no model is named; write @metered_model('NAME') or pass model= to the call"
        raise ModelUnpriced(msg)
    key = None if options.idempotency_key is None else key_of(spec, args, kwargs)
    routes = _routes(spec, scope, (args, kwargs), arguments, model) if scope.acts else None
    routing = None if routes is None else routes.routing()
    if routes is not None and routing is not None and (routing.model != model or routing.limits_output):
        call = Call(scope, "model", model, _UNDECIDED, options.on_lost, key, outer)
        call.send_to(routes.route_of(routing))
    else:
        price = spec.price_of(scope.services.prices, model, asked=model)
        estimate, tier = spec.hold_estimate(model, args, kwargs, arguments, price)
        call = Call(scope, "model", model, estimate, options.on_lost, key, outer, price, tier)
    if routes is not None:
        call.set_routes(routes, call.routing or routing)
        call.describe(stage=options.stage or scope.labels.get("stage"))
    return call


def _routes(
    spec: Spec, scope: ScopeState, given: Arguments, arguments: dict[str, object], model: str
) -> CallRoutes | None:
    """Return the ways of a call; None for one about which policies have nothing to say."""
    watch, found = scope.current_watch(), scope.destination(model, spec.options.stage)
    if found is None and watch is None and effects_over(scope) is NOTHING:
        return None
    return CallRoutes(spec, scope, given, arguments, model, found)
