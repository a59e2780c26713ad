"""Sending a model call where its route says: another model, a lower cap, the next fallback when it is refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from costscope.control.effects import NOTHING, Effects
from costscope.errors import InvalidInput
from costscope.estimate import output_cap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.control.routing import Routing
    from costscope.estimate import CallShape
    from costscope.scope.scope import Scope

__all__ = ["Arguments", "effects_over", "rewritten", "routing_for"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""`(args, kwargs)` of a call."""

log = logging.getLogger("costscope")


def routing_for(scope: Scope, model: str, stage: str | None, now_s: float) -> Routing | None:
    """Where a call that asks for this model goes; None where nothing has a say in that."""
    router = scope.runtime.router
    watch = scope.watching()
    effects = effects_over(scope)
    if not router.routes and effects is NOTHING:
        return None
    costs = watch.costs() if watch is not None else ()
    return router.route(scope.labels, model, stage, effects=effects, costs=costs, now_s=now_s)


def effects_over(scope: Scope) -> Effects:
    """What thresholds and a runaway have put in force, together."""
    watch, run = scope.watch, scope.run
    passed = watch.effects() if watch is not None else NOTHING
    own = run.effects if run is not None else NOTHING
    if own is NOTHING or passed is NOTHING:
        return passed if own is NOTHING else own
    return passed.with_those_of(own)


def rewritten(
    shape: CallShape, given: Arguments, arguments: Mapping[str, object], asked: str, routing: Routing
) -> Arguments | None:
    """The arguments of the call as it is to be made; None where it is to be made as it is.

    Args:
        shape: of the function.
        given: what it was called with.
        arguments: the same by name.
        asked: the model it asks for.
        routing: where it goes.
    """
    args, kwargs = given
    changed = False
    if routing.model != asked:
        if not shape.takes_model:
            log.warning(
                "a call cannot go to %s instead of %s: its function takes no model", routing.model, asked
            )
        else:
            args, kwargs = shape.with_model(args, kwargs, routing.model)
            changed = True
    own = output_cap(arguments)
    cap = routing.cap(own)
    if cap is not None and (own is None or cap < own):
        try:
            args, kwargs = shape.with_cap(args, kwargs, cap)
            changed = True
        except InvalidInput:
            log.warning(
                "the output of a call to %s cannot be capped: its function takes no cap", routing.model
            )
    return (args, kwargs) if changed else None
