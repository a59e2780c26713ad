"""All checks of a policy, in its order, and those of a budget: its calendar, its limits and what it does at them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from costscope.ledger.meters import SLOTS
from costscope.policy.checks.route_checks import route_problems, runaway_problems
from costscope.policy.checks.threshold_checks import actions_problems, webhook_problems
from costscope.policy.checks.value_checks import (
    LIMITS,
    amount_problem,
    duration_problem,
    id_problems,
    limit_problem,
    match_problems,
    per_problems,
    percent_problem,
)
from costscope.policy.load.document import cut
from costscope.policy.model.actions import ACTIONS
from costscope.policy.model.controls import WALL_CLOCK, Constraints
from costscope.policy.model.periods import load_zone, month_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from costscope.policy.load.document import Steps
    from costscope.policy.model.controls import OnDenied, Threshold
    from costscope.policy.model.schema import Budget, Policy

    Problem = tuple[Steps, str]

_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)

_THRESHOLD_MOST = 10_000.0
_MESSAGE_MOST = 500
_DAYS_MOST = 31


def check_policy(policy: Policy) -> Iterator[Problem]:
    """Yield every reason why a policy cannot be used: where, and what."""
    webhooks = tuple(policy.webhooks)
    ids = [budget.id for budget in policy.budgets]
    for index, budget in enumerate(policy.budgets):
        yield from _at(("budgets", index), _budget_problems(budget, ids[:index], webhooks))
    ids = [route.id for route in policy.routing]
    for index, route in enumerate(policy.routing):
        yield from _at(("routing", index), route_problems(route, ids[:index]))
    if policy.runaway is not None:
        yield from _at(("runaway",), runaway_problems(policy.runaway, webhooks))
    for name, webhook in policy.webhooks.items():
        yield from _at(("webhooks", name), webhook_problems(name, webhook))
    if not _CURRENCY.fullmatch(policy.currency):
        yield ("currency",), f"{cut(policy.currency)} is no currency code; use three capitals such as USD"


def _at(place: Steps, problems: Iterable[Problem]) -> Iterator[Problem]:
    for steps, problem in problems:
        yield (*place, *steps), problem


def _budget_problems(budget: Budget, ids: Sequence[str], webhooks: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with a budget, in the order in which people write one."""
    yield from id_problems(budget.id, ids, "budgets")
    yield from match_problems(budget.match)
    yield from per_problems(budget.per, budget.match)
    yield from _calendar(budget)
    yield from _limits(budget)
    yield from _thresholds(budget, webhooks)
    yield from _on_denied(budget.on_denied)
    if budget.constraints is not None:
        yield from _constraints(budget.constraints)


def _calendar(budget: Budget) -> Iterator[Problem]:
    try:
        load_zone(budget.timezone)
    except ValueError as error:
        yield ("timezone",), str(error)
    period = budget.period
    if budget.week_start is not None and period != "weekly":
        yield ("week_start",), f"the period is {period}; week_start is for weekly only, remove it"
    if budget.year_start is not None:
        if period not in {"quarterly", "yearly"}:
            yield (
                ("year_start",),
                f"the period is {period}; year_start is for quarterly and yearly only, remove it",
            )
        try:
            month_day(budget.year_start)
        except ValueError as error:
            yield ("year_start",), str(error)
    if budget.cycle_day is not None:
        if period != "monthly":
            yield ("cycle_day",), f"the period is {period}; cycle_day is for monthly only, remove it"
        if not 1 <= budget.cycle_day <= _DAYS_MOST:
            yield (
                ("cycle_day",),
                f"{cut(budget.cycle_day)} is no day of a month; give 1 to 31 (31 is the last of each month)",
            )


def _limits(budget: Budget) -> Iterator[Problem]:
    if not budget.limits and budget.constraints is None:
        yield ("limits",), f"no limit, so the budget caps nothing; add one of {', '.join(LIMITS)}"
    for meter, amount in budget.limits.items():
        wrong = limit_problem(meter, amount)
        if wrong:
            yield ("limits", meter), wrong


def _thresholds(budget: Budget, webhooks: Sequence[str]) -> Iterator[Problem]:
    meters = [meter for meter in budget.limits if meter != WALL_CLOCK]
    for index, threshold in enumerate(budget.thresholds):
        place: Steps = ("thresholds", index)
        problem = percent_problem(threshold.at, "at", most=_THRESHOLD_MOST)
        if problem:
            yield (*place, "at"), problem
        if len(threshold.message) > _MESSAGE_MOST:
            yield (
                (*place, "message"),
                f"{len(threshold.message):,} characters, and it goes into every record; give at most {_MESSAGE_MOST}",
            )
        if not meters:
            yield place, "the budget limits no meter of which this could be a part; add one under `limits`"
        elif threshold.meter is not None and threshold.meter not in meters:
            yield (
                (*place, "meter"),
                f"{cut(threshold.meter)} is not limited by this budget; it limits {', '.join(meters)}",
            )
        for before, other in enumerate(budget.thresholds[:index]):
            if (other.at, other.meter) == (threshold.at, threshold.meter):
                yield (
                    place,
                    f"{threshold.at:g} percent is thresholds[{before}] too; put their actions into one list",
                )
        for steps, problem in actions_problems(threshold.actions, webhooks):
            yield (*place, *steps), problem
        yield from ((place + steps, problem) for steps, problem in _throttles(budget, threshold))


def _throttles(budget: Budget, threshold: Threshold) -> Iterator[Problem]:
    for index, action in enumerate(threshold.actions):
        if not ACTIONS[action.do].needs_reset:
            continue
        if budget.period == "total":
            yield (
                ("actions", index),
                (
                    f"{action.do} makes the rest last until the reset, and a total never resets; set a period, "
                    "or use limit_capabilities"
                ),
            )
        if threshold.meter in SLOTS:
            yield (
                ("actions", index),
                f"{action.do} paces what is used up, and {threshold.meter} come back; use halt_new_runs",
            )


def _on_denied(on_denied: OnDenied) -> Iterator[Problem]:
    if on_denied.do == "wait":
        problem = duration_problem(on_denied.timeout, "timeout")
        if on_denied.timeout == 0:
            yield ("on_denied",), "wait needs a timeout; write {wait: 30s}"
        elif problem:
            yield ("on_denied", "timeout"), problem
    elif on_denied.timeout != 0:
        yield ("on_denied", "timeout"), f"timeout is for wait, and this is {on_denied.do}; remove it"
    if on_denied.do != "return" and on_denied.value is not None:
        yield ("on_denied", "value"), f"value is for return, and this is {on_denied.do}; remove it"


def _constraints(constraints: Constraints) -> Iterator[Problem]:
    given = {
        field: value
        for field in Constraints.__struct_fields__
        if (value := getattr(constraints, field)) is not None
    }
    if not given:
        yield (
            ("constraints",),
            f"nothing is limited; add one of {', '.join(Constraints.__struct_fields__)}, or remove it",
        )
    for field, value in given.items():
        wrong = duration_problem(value, field) if field == WALL_CLOCK else amount_problem(field, value)
        if wrong:
            yield ("constraints", field), wrong
