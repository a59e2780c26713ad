"""Routes that are never reached, and triggers that never fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.policy.lint.action_lint import actions_of
from costscope.policy.lint.limit_lint import covers_patterns, covers_rules
from costscope.policy.model.actions import ACTIONS
from costscope.policy.model.patterns import rules_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.load.document import Steps
    from costscope.policy.model.controls import Route
    from costscope.policy.model.schema import Policy


def route_warnings(policy: Policy) -> Iterator[tuple[Steps, str]]:
    """Yield what is suspicious about routes."""
    downgrades = any(ACTIONS[action.do].needs_model for _, action in actions_of(policy))
    for index, route in enumerate(policy.routing):
        for other in policy.routing[:index]:
            if _hides(other, route):
                yield (
                    ("routing", index),
                    f"is never reached: the route {other.id} before it takes all of its calls; put this one first",
                )
                break
        for at, stage in enumerate(route.stages):
            place: Steps = ("routing", index, "stages", at, "downgrade_on")
            triggers = stage.downgrade_on
            if triggers is None:
                continue
            if not stage.fallbacks:
                yield place, "triggers do nothing without fallbacks; add `fallback: MODEL`, or remove them"
            elif triggers.soft_threshold_exceeded and policy.budgets and not downgrades:
                yield (
                    (*place, "soft_threshold_exceeded"),
                    "never holds: no threshold of any budget has the action downgrade_model",
                )


def _hides(first: Route, second: Route) -> bool:
    if not covers_rules(rules_of(first.match), rules_of(second.match)):
        return False
    if not covers_patterns(first.models, second.models):
        return False
    taken = {stage.stage for stage in first.stages}
    return "*" in taken or {stage.stage for stage in second.stages} <= taken
