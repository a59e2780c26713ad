"""Thresholds, actions, webhooks and routes that never do anything, and limits of runs where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.meters import RUN_METERS
from costscope.policy.checks.budget_checks import problems_at
from costscope.policy.lint.limit_lint import covers_patterns, covers_rules
from costscope.policy.model.actions import ACTIONS
from costscope.policy.model.patterns import rules_of
from costscope.policy.resolve.levels import refuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.policy.load.document import Problem, Steps
    from costscope.policy.model.actions import Action
    from costscope.policy.model.controls import Pattern, Route, Stage
    from costscope.policy.model.schema import Budget, Policy

_ALL = 100


def actions_of(policy: Policy) -> Iterator[tuple[Steps, Action]]:
    """Yield every action of a policy, with its place."""
    for index, budget in enumerate(policy.budgets):
        for at, threshold in enumerate(budget.thresholds):
            for number, action in enumerate(threshold.actions):
                yield ("budgets", index, "thresholds", at, "actions", number), action
    if policy.runaway is not None:
        for number, action in enumerate(policy.runaway.actions):
            yield ("runaway", "actions", number), action


def stages_of(policy: Policy) -> Iterator[tuple[Steps, Stage]]:
    """Yield every stage of a policy's routes, with its place."""
    for index, route in enumerate(policy.routing):
        for at, stage in enumerate(route.stages):
            yield ("routing", index, "stages", at), stage


def action_warnings(policy: Policy) -> Iterator[Problem]:
    """Yield the actions and webhooks that will not do what they say."""
    somewhere = any(stage.fallbacks for _, stage in stages_of(policy))
    for index, budget in enumerate(policy.budgets):
        yield from problems_at(("budgets", index), _budget_warnings(budget, somewhere=somewhere))
    for steps, action in actions_of(policy):
        if ACTIONS[action.do].needs_model and action.model is None and not somewhere:
            remedy = "no route has fallbacks; add some, or name a model here"
            yield steps, f"{action.do} has nowhere to go: {remedy}"
    resets = any(budget.period != "total" for budget in policy.budgets)
    for index, action in enumerate(policy.runaway.actions if policy.runaway is not None else ()):
        if ACTIONS[action.do].needs_reset and not resets:
            what = f"{action.do} makes the rest last until the reset, and no budget ever resets"
            yield ("runaway", "actions", index), f"{what}; set a period, or use limit_capabilities"
    named = [action.to for _, action in actions_of(policy) if action.do == "webhook"]
    for name in policy.webhooks:
        if name not in named and not (None in named and len(policy.webhooks) == 1):
            yield ("webhooks", name), "no action sends anything here; add `webhook` to one, or remove it"


def _budget_warnings(budget: Budget, *, somewhere: bool) -> Iterator[Problem]:
    for index, threshold in enumerate(budget.thresholds):
        place: Steps = ("thresholds", index, "at")
        if threshold.at > _ALL and refuses(budget, in_run=True):
            never = f"{threshold.at:g} percent of a hard limit is never reached, calls are refused at 100"
            yield place, f"{never}; lower it, or use enforcement: soft"
        elif threshold.at < 1:
            meant = f"{threshold.at * _ALL:g}"
            yield place, f"{threshold.at:g} is less than one percent; was {meant} meant?"
    lenient = f"enforcement is {budget.enforcement}"
    if budget.on_limit != "reject" and budget.enforcement != "hard":
        what = f"{budget.on_limit} is what a hard limit does, and {lenient}"
        yield ("on_limit",), f"{what}; use thresholds, or enforcement: hard"
    if budget.on_denied.do != "raise" and budget.enforcement != "hard":
        what = f"{lenient}, so the budget refuses nothing"
        yield ("on_denied",), f"{what}; remove it, or use enforcement: hard"
    if budget.on_limit == "downgrade_then_reject" and not somewhere:
        yield ("on_limit",), "downgrade_then_reject has nowhere to go: no route has fallbacks; add some"


def run_warnings(policy: Policy) -> Iterator[Problem]:
    """Yield what is about runs, which are the scopes with a label `run`, where `match` leaves them out."""
    outside = [index for index, budget in enumerate(policy.budgets) if _excludes_runs(budget.match)]
    for index in outside:
        for steps, what in _limits_in_runs(policy.budgets[index]):
            problem = f"{what}, and match covers only scopes without a run; drop `run: null`, or this"
            yield ("budgets", index, *steps), problem
    if policy.runaway is not None and _excludes_runs(policy.runaway.match):
        problem = "runs are what is watched, and this leaves all of them out; remove it"
        yield ("runaway", "match", "run"), problem
    for steps, action in actions_of(policy):
        if steps[0] == "budgets" and steps[1] in outside and ACTIONS[action.do].needs_run:
            yield steps, f"{action.do} is about runs, and match covers only scopes without one"


def _excludes_runs(match: Mapping[str, Pattern]) -> bool:
    return "run" in match and match["run"] is None


def _limits_in_runs(budget: Budget) -> Iterator[Problem]:
    if budget.on_limit == "reject_new_runs":
        yield ("on_limit",), "reject_new_runs refuses the admission of runs"
    elif budget.on_limit == "halt_run":
        yield ("on_limit",), "halt_run ends a run"
    for meter in RUN_METERS:
        if meter in budget.limits:
            yield ("limits", meter), f"{meter} are counted in runs"
    if budget.constraints is not None:
        yield ("constraints",), "constraints are the limits of each run"


def route_warnings(policy: Policy) -> Iterator[Problem]:
    """Yield the routes that are never reached, and the triggers that never fire."""
    for index, route in enumerate(policy.routing):
        hiding = next((other for other in policy.routing[:index] if _hides(other, route)), None)
        if hiding is not None:
            problem = f"the route {hiding.id} before it takes all of its calls; put this one first"
            yield ("routing", index), f"is never reached: {problem}"
    downgrades = any(ACTIONS[action.do].needs_model for _, action in actions_of(policy))
    for steps, stage in stages_of(policy):
        place = (*steps, "downgrade_on")
        if stage.downgrade_on is None:
            continue
        if not stage.fallbacks:
            yield place, "triggers do nothing without fallbacks; add `fallback: MODEL`, or remove them"
        elif stage.downgrade_on.soft_threshold_exceeded and policy.budgets and not downgrades:
            problem = "never holds: no threshold of any budget has the action downgrade_model"
            yield (*place, "soft_threshold_exceeded"), problem


def _hides(first: Route, second: Route) -> bool:
    if not covers_rules(rules_of(first.match), rules_of(second.match)):
        return False
    if not covers_patterns(first.models, second.models):
        return False
    taken = {stage.stage for stage in first.stages}
    return "*" in taken or {stage.stage for stage in second.stages} <= taken
