"""Budgets, routes, the detection of runaways and webhooks in words.

Of a budget: what it covers, how it is split, when it starts anew, what it does at which level.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.policy.explain.format import (
    format_amount,
    format_match,
    format_on_denied,
    format_pattern,
    format_triggers,
)
from costscope.policy.model.actions import format_action
from costscope.policy.model.controls import WALL_CLOCK
from costscope.policy.model.periods import load_zone
from costscope.policy.model.schema import Outage

if TYPE_CHECKING:
    from costscope.policy.model.controls import Route, Runaway, Stage, Webhook
    from costscope.policy.model.schema import Budget


_AT_LIMIT: Final = {
    "reject": "calls are refused",
    "reject_new_runs": "new runs, and calls outside of runs, are refused; runs go on, marked as degraded",
    "halt_run": "calls are refused, and the run that met it is halted",
    "downgrade_then_reject": "the fallbacks of the route are tried, then calls are refused",
}
_NOT_HARD: Final = {
    "soft": "nothing is refused; calls above it are marked as degraded",
    "shadow": "nothing is refused; what would be is recorded",
}


class ThresholdExplained(msgspec.Struct, frozen=True):
    """What is done from a part of the limit on."""

    at: float
    """Percent of the limit, spent or held."""
    meter: str | None
    """None: of each limit by itself."""
    actions: tuple[str, ...]
    message: str = ""


class BudgetExplained(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in words."""

    id: str
    covers: str
    """Such as `tenant is acme, user is absent`, or `every scope`."""
    split: str
    """Such as `one account per tenant and user`."""
    resets: str
    """Such as `daily, Europe/Berlin`."""
    window_start: dt.datetime | None
    window_end: dt.datetime | None
    """The window at the given instant, in the budget's zone; the end is the next reset. None: it never resets."""
    limits: dict[str, str]
    """Meter to limit for people: `USD 5.00`, `1,000,000 tokens`."""
    thresholds: tuple[ThresholdExplained, ...] = ()
    at_limit: str
    """What happens at the limit; empty where there is none."""
    on_denied: str = "raise"
    """What a refused call does: `raise`, `return None`, `wait 30s`."""
    constraints: dict[str, str] = {}
    """Of each run, as this budget says it."""
    on_outage: Outage


def explain_budget(budget: Budget, currency: str, at_ms: int) -> BudgetExplained:
    """Put a budget into words, with the window that holds an instant in ms since the epoch."""
    zone = load_zone(budget.timezone)
    start_ms, end_ms = budget.window(at_ms)
    return BudgetExplained(
        id=budget.id,
        covers=format_match(budget.match) or "every scope",
        split=f"one account per {' and '.join(budget.per)}" if budget.per else "one account for all",
        resets=_resets(budget),
        window_start=_moment(start_ms, zone) if end_ms else None,
        window_end=_moment(end_ms, zone) if end_ms else None,
        limits=_limits(budget, currency),
        thresholds=tuple(
            ThresholdExplained(one.at, one.meter, tuple(map(format_action, one.actions)), one.message)
            for one in sorted(budget.thresholds, key=lambda one: one.at)
        ),
        at_limit=_at_limit(budget),
        on_denied=format_on_denied(budget.on_denied),
        constraints=_constraints(budget, currency),
        on_outage=budget.on_outage,
    )


def _resets(budget: Budget) -> str:
    if budget.period == "total":
        return "never"
    begins = {
        "weekly": f" from {budget.week_start or 'monday'}",
        "monthly": f" from day {budget.cycle_day}" if budget.cycle_day not in {None, 1} else "",
        "quarterly": f", the year from {budget.year_start}" if budget.year_start else "",
        "yearly": f" from {budget.year_start}" if budget.year_start else "",
    }
    return f"{budget.period}{begins.get(budget.period, '')}, {budget.timezone}"


def _limits(budget: Budget, currency: str) -> dict[str, str]:
    found = {meter: format_amount(meter, limit, currency) for meter, limit in budget.ceilings}
    if budget.wall_clock_ms is not None:
        found[WALL_CLOCK] = format_amount(WALL_CLOCK, budget.wall_clock_ms, currency)
    return found


def _constraints(budget: Budget, currency: str) -> dict[str, str]:
    said = budget.constraints
    if said is None:
        return {}
    found = {meter: format_amount(meter, limit, currency) for meter, limit in said.ceilings}
    if said.wall_clock_ms is not None:
        found[WALL_CLOCK] = format_amount(WALL_CLOCK, said.wall_clock_ms, currency)
    return found


def _at_limit(budget: Budget) -> str:
    if not budget.limits:
        return ""
    return _NOT_HARD.get(budget.enforcement, _AT_LIMIT[budget.on_limit])


def _moment(at_ms: int, zone: dt.tzinfo) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).astimezone(zone)


class StageExplained(msgspec.Struct, frozen=True):
    """One stage of a route in words."""

    stage: str
    """Such as `planning`; `any stage`."""
    goes: str
    """Where its calls go, such as `to gpt-4o, at most 2,000 output tokens`."""
    falls_back: str
    """Such as `to gpt-4o-mini when soft_threshold_exceeded`; empty without fallbacks."""


class RouteExplained(msgspec.Struct, frozen=True):
    """One route in words."""

    id: str
    covers: str
    models: str
    """Such as `calls that ask for gpt-4*`."""
    stages: tuple[StageExplained, ...]


def explain_route(route: Route) -> RouteExplained:
    """Put a route into words."""
    every = "*" in route.models
    return RouteExplained(
        id=route.id,
        covers=format_match(route.match) or "every scope",
        models="calls of any model" if every else f"calls that ask for {format_pattern(route.models)}",
        stages=tuple(map(_stage, route.stages)),
    )


def explain_runaway(runaway: Runaway) -> str:
    """Put the detection of runaways into words: `3 failures in a row, 2 x its own cost per minute; then log, halt_run`."""
    said = {
        f"{runaway.failures} failures in a row": runaway.failures,
        f"{runaway.burn_rate:g} x its own cost per minute": runaway.burn_rate,
        f"the same call {runaway.repeats} times": runaway.repeats,
    }
    watched = ", ".join(words for words, on in said.items() if on)
    whose = format_match(runaway.match)
    of = f"where {whose}: " if whose else ""
    return f"{of}{watched}; then {', '.join(map(format_action, runaway.actions))}"


def explain_webhook(webhook: Webhook) -> str:
    """Put a webhook into words: `https://ops.example/hook, signed with $OPS_SECRET`."""
    return f"{webhook.url}, signed with ${webhook.secret_env}"


def _stage(stage: Stage) -> StageExplained:
    to = f"to {stage.model}" if stage.model else "to the model they ask for"
    cap = f", at most {stage.max_tokens:,} output tokens" if stage.max_tokens is not None else ""
    return StageExplained(
        stage="any stage" if stage.stage == "*" else stage.stage,
        goes=to + cap,
        falls_back=f"to {', then '.join(stage.fallbacks)} {_format_trigger(stage)}"
        if stage.fallbacks
        else "",
    )


def _format_trigger(stage: Stage) -> str:
    if stage.downgrade_on is None:
        return "when a threshold with downgrade_model is passed"
    return f"when {' or '.join(format_triggers(stage.downgrade_on)) or 'a budget refuses'}"
