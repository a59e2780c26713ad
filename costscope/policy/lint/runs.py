"""What speaks of runs in a budget that covers none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.policy.lint.actions import actions_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.document import Steps
    from costscope.policy.schema import Budget, Policy

__all__ = ["run_warnings"]

_METERS = ("runs", "iterations", "concurrent_runs")
_ACTIONS = frozenset({"halt_run", "halt_new_runs"})


def run_warnings(policy: Policy) -> Iterator[tuple[Steps, str]]:
    """Runs are the scopes with a label `run`; a budget whose `match` says `run: null` never sees one."""
    for index, budget in enumerate(policy.budgets):
        if "run" in budget.match and budget.match["run"] is None:
            for steps, what in _of_budget(budget):
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
        if steps[0] != "budgets" or action.do not in _ACTIONS:
            continue
        budget = policy.budgets[int(steps[1])]
        if "run" in budget.match and budget.match["run"] is None:
            yield steps, f"{action.do} is about runs, and match covers only scopes without one"


def _of_budget(budget: Budget) -> Iterator[tuple[Steps, str]]:
    if budget.on_limit == "reject_new_runs":
        yield ("on_limit",), "reject_new_runs refuses the admission of runs"
    elif budget.on_limit == "halt_run":
        yield ("on_limit",), "halt_run ends a run"
    for meter in _METERS:
        if meter in budget.limits:
            yield ("limits", meter), f"{meter} are counted in runs"
    if budget.constraints is not None:
        yield ("constraints",), "constraints are the limits of each run"
