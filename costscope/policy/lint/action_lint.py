"""Thresholds that are never met, actions with nowhere to go, webhooks that no action calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.meters import RUN_METERS
from costscope.policy.model.actions import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.load.document import Steps
    from costscope.policy.model.actions import Action
    from costscope.policy.model.schema import Budget, Policy


_ALL = 100


def action_warnings(policy: Policy) -> Iterator[tuple[Steps, str]]:
    """Warn of actions that will not do what they say."""
    somewhere = any(stage.fallbacks for route in policy.routing for stage in route.stages)
    for index, budget in enumerate(policy.budgets):
        for steps, problem in _of_budget(budget, somewhere=somewhere):
            yield ("budgets", index, *steps), problem
    for steps, action in actions_of(policy):
        if ACTIONS[action.do].needs_model and action.model is None and not somewhere:
            yield (
                steps,
                f"{action.do} has nowhere to go: no route has fallbacks; add some, or name a model here",
            )
    resets = any(budget.period != "total" for budget in policy.budgets)
    for index, action in enumerate(policy.runaway.actions if policy.runaway is not None else ()):
        if ACTIONS[action.do].needs_reset and not resets:
            yield (
                ("runaway", "actions", index),
                f"{action.do} makes the rest last until the reset, and no budget ever resets; set a period, or use limit_capabilities",
            )
    named = [action.to for _, action in actions_of(policy) if action.do == "webhook"]
    for name in policy.webhooks:
        if name not in named and not (None in named and len(policy.webhooks) == 1):
            yield ("webhooks", name), "no action sends anything here; add `webhook` to one, or remove it"


def actions_of(policy: Policy) -> Iterator[tuple[Steps, Action]]:
    """Return every action of a policy, with its place."""
    for index, budget in enumerate(policy.budgets):
        for at, threshold in enumerate(budget.thresholds):
            for number, action in enumerate(threshold.actions):
                yield ("budgets", index, "thresholds", at, "actions", number), action
    if policy.runaway is not None:
        for number, action in enumerate(policy.runaway.actions):
            yield ("runaway", "actions", number), action


def _of_budget(budget: Budget, *, somewhere: bool) -> Iterator[tuple[Steps, str]]:
    refuses = budget.enforcement == "hard" and budget.on_limit != "reject_new_runs"
    for index, threshold in enumerate(budget.thresholds):
        if threshold.at > _ALL and refuses:
            yield (
                ("thresholds", index, "at"),
                (
                    f"{threshold.at:g} percent of a hard limit is never reached, calls are refused at 100; "
                    "lower it, or use enforcement: soft"
                ),
            )
        elif threshold.at < 1:
            yield (
                ("thresholds", index, "at"),
                f"{threshold.at:g} is less than one percent; was {threshold.at * _ALL:g} meant?",
            )
    if budget.on_limit != "reject" and budget.enforcement != "hard":
        yield (
            ("on_limit",),
            (
                f"{budget.on_limit} is what a hard limit does, and enforcement is {budget.enforcement}; "
                "use thresholds, or enforcement: hard"
            ),
        )
    if budget.on_denied.do != "raise" and budget.enforcement != "hard":
        yield (
            ("on_denied",),
            f"enforcement is {budget.enforcement}, so the budget refuses nothing; remove it, or use enforcement: hard",
        )
    if budget.on_limit == "downgrade_then_reject" and not somewhere:
        yield ("on_limit",), "downgrade_then_reject has nowhere to go: no route has fallbacks; add some"


def run_warnings(policy: Policy) -> Iterator[tuple[Steps, str]]:
    """Runs are the scopes with a label `run`; a budget whose `match` says `run: null` never sees one."""
    for index, budget in enumerate(policy.budgets):
        if "run" in budget.match and budget.match["run"] is None:
            for steps, what in _limits_in_runs(budget):
                yield (
                    ("budgets", index, *steps),
                    f"{what}, and match covers only scopes without a run; drop `run: null`, or this",
                )
    runaway = policy.runaway
    if runaway is not None and "run" in runaway.match and runaway.match["run"] is None:
        yield (
            ("runaway", "match", "run"),
            "runs are what is watched, and this leaves all of them out; remove it",
        )
    for steps, action in actions_of(policy):
        if steps[0] != "budgets" or not ACTIONS[action.do].needs_run:
            continue
        budget = policy.budgets[int(steps[1])]
        if "run" in budget.match and budget.match["run"] is None:
            yield steps, f"{action.do} is about runs, and match covers only scopes without one"


def _limits_in_runs(budget: Budget) -> Iterator[tuple[Steps, str]]:
    if budget.on_limit == "reject_new_runs":
        yield ("on_limit",), "reject_new_runs refuses the admission of runs"
    elif budget.on_limit == "halt_run":
        yield ("on_limit",), "halt_run ends a run"
    for meter in RUN_METERS:
        if meter in budget.limits:
            yield ("limits", meter), f"{meter} are counted in runs"
    if budget.constraints is not None:
        yield ("constraints",), "constraints are the limits of each run"
