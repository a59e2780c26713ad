"""Sending a model call where its route says: another model, a lower cap, the next fallback when it is refused."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from costscope.control.effects import NOTHING, Effects
from costscope.control.routing import Routing
from costscope.errors import InvalidInput
from costscope.estimate import output_cap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.call.call import Call
    from costscope.call.spec import Spec
    from costscope.estimate import CallShape
    from costscope.scope.scope import Scope

__all__ = ["Arguments", "Given", "astray", "effects_over", "rewritten", "routing_for"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""`(args, kwargs)` of a call."""

log = logging.getLogger("costscope")


class Given(NamedTuple):
    """A model call as it was asked for."""

    spec: Spec
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    arguments: Mapping[str, object]
    """The same by name."""
    model: str
    stage: str | None


def routing_for(
    scope: Scope, model: str, stage: str | None, now_s: float, less: Mapping[str, int] | None = None
) -> Routing | None:
    """Where a call that asks for this model goes; None where nothing has a say in that.

    Args:
        scope: of the call.
        model: what it asks for.
        stage: what it says about its stage.
        now_s: by the monotonic clock.
        less: what the call holds by itself already, which is not to count.
    """
    router = scope.runtime.router
    watch = scope.watching()
    effects = effects_over(scope, less)
    if not router.routes and effects is NOTHING:
        return None
    costs = watch.costs(less.get("cost", 0) if less else 0) if watch is not None else ()
    return router.route(scope.labels, model, stage, effects=effects, costs=costs, now_s=now_s)


def effects_over(scope: Scope, less: Mapping[str, int] | None = None) -> Effects:
    """What thresholds and a runaway have put in force, together; `less` as above."""
    watch, run = scope.watch, scope.run
    passed = watch.effects(less) if watch is not None else NOTHING
    own = run.effects if run is not None else NOTHING
    if own is NOTHING or passed is NOTHING:
        return passed if own is NOTHING else own
    return passed.with_those_of(own)


def astray(call: Call) -> bool:
    """True if by what is known now, its own hold left out, the call should go elsewhere than it goes."""
    given = call.given
    if given is None or call.fell_back:
        return False
    now = routing_for(call.scope, given.model, given.stage, monotonic(), call.taken)
    before = call.routing
    if now is None or before is None:
        return now is not before and (now or before) != Routing(given.model)
    return (now.model, now.max_tokens, now.caps) != (before.model, before.max_tokens, before.caps)


def rewritten(
    shape: CallShape,
    given: Arguments,
    arguments: Mapping[str, object],
    asked: str,
    routing: Routing,
    most: int | None = None,
) -> Arguments | None:
    """The arguments of the call as it is to be made; None where it is to be made as it is.

    Args:
        shape: of the function.
        given: what it was called with.
        arguments: the same by name.
        asked: the model it asks for.
        routing: where it goes.
        most: the most output it may make if it is not capped, where it states no cap itself.
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
    cap = routing.cap(own, most)
    if cap is not None and (own is None or cap < own):
        try:
            args, kwargs = shape.with_cap(args, kwargs, cap)
            changed = True
        except InvalidInput:
            log.warning(
                "the output of a call to %s cannot be capped: its function takes no cap", routing.model
            )
    return (args, kwargs) if changed else None
