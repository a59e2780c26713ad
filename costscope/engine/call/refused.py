"""Telling of calls that are refused: counted, traced, recorded; also of those that are refused before they are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.enforcement.refusal_events import tell_refused
from costscope.engine.enforcement.refusals import unscoped
from costscope.scope.nesting import innermost

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.errors import CallDenied, CallUnscoped, ModelUnpriced
    from costscope.observe.telemetry import CallKind
    from costscope.scope.runtime import Runtime
    from costscope.scope.scope import Scope

__all__ = ["refused", "refused_unopened", "scope_for"]


def scope_for(runtime: Runtime, kind: CallKind, name: str) -> Scope:
    """The scope that a call made now belongs to.

    Raises:
        CallUnscoped: there is none, and the policy does not allow that.
    """
    scope = innermost(runtime)
    if scope is not None:
        return scope
    if runtime.unscoped == "allow":
        return runtime.outside
    error = unscoped()
    refused_unopened(error, runtime, kind, name, None)
    raise error


def refused(call: Call, error: CallDenied) -> None:
    """Count the refusal of a call, trace it and tell of it."""
    scope = call.scope
    budget, meter = getattr(error, "budget", None), getattr(error, "meter", None)
    scope.totals.add_denial(error.kind, budget, meter, call.kind)
    if call.span is not None and call.runtime.spans is not None:
        call.runtime.spans.refuse(call.span, error)
    tell_refused(scope, call.kind, call.name, error)


def refused_unopened(
    error: CallUnscoped | ModelUnpriced, runtime: Runtime, kind: CallKind, name: str, scope: Scope | None
) -> None:
    """`refused` for a call without a scope or a price.

    Args:
        error: what is about to be raised.
        runtime: whose call it would be.
        kind: model or tool.
        name: of the model or tool.
        scope: where it was made; None: outside every scope, which is a place, too.
    """
    place = scope if scope is not None else runtime.outside
    place.totals.add_denial(error.kind, None, None, kind)
    if runtime.spans is not None:
        span = runtime.spans.start(kind, name, place.labels)
        if span is not None:
            runtime.spans.refuse(span, error)
    tell_refused(place, kind, name, error)
