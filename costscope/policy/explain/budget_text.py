"""Budgets, routes, the detection of runaways and webhooks in words, and the parts that all of them have.

Of a budget: what it covers, how it is split, when it starts anew, what it does at which level.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger.meters import MONEY
from costscope.ledger.times import UNITS_MS
from costscope.policy.model.actions import format_action
from costscope.policy.model.constraints import limits_of
from costscope.policy.model.controls import WALL_CLOCK
from costscope.policy.model.periods import load_zone
from costscope.policy.model.schema import Outage
from costscope.pricing.money import format_money

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.model.controls import (
        Constraints,
        OnDenied,
        Pattern,
        Route,
        Runaway,
        Stage,
        Triggers,
        Webhook,
    )
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
        on_denied=_format_on_denied(budget.on_denied),
        constraints=_limits(budget.constraints, currency),
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


def _limits(limits: Budget | Constraints | None, currency: str) -> dict[str, str]:
    return {field: format_amount(field, limit, currency) for field, limit in limits_of(limits)}


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
    when = "a threshold with downgrade_model is passed"
    if stage.downgrade_on is not None:
        when = " or ".join(_triggers(stage.downgrade_on)) or "a budget refuses"
    cap = f", at most {stage.max_tokens:,} output tokens" if stage.max_tokens is not None else ""
    return StageExplained(
        stage="any stage" if stage.stage == "*" else stage.stage,
        goes=to + cap,
        falls_back=f"to {', then '.join(stage.fallbacks)} when {when}" if stage.fallbacks else "",
    )


def format_amount(meter: str, amount: int, currency: str) -> str:
    """Format an amount of a meter: `USD 5.00`, `1,000,000 tokens`, `1 run`; of `wall_clock`, in ms, a duration."""
    if meter in MONEY:
        return format_money(amount, currency)
    if meter == WALL_CLOCK:
        return f"{format_duration(amount)} of wall clock"
    unit = meter.replace("_", " ")
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"


def format_duration(milliseconds: int) -> str:
    """Format a duration as `1h 30m`; at most two units, the rest is cut off."""
    parts = []
    for unit, size in UNITS_MS.items():
        number, milliseconds = divmod(milliseconds, size)
        if number:
            parts.append(f"{number}{unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def format_match(match: dict[str, Pattern]) -> str:
    """Format a `match` as `tenant is acme, user is absent`; empty for everything."""
    return ", ".join(f"{label} is {format_pattern(pattern)}" for label, pattern in match.items())


def _format_on_denied(on_denied: OnDenied) -> str:
    """Format what a refused call does: `raise`, `return None`, `wait 30s`."""
    if on_denied.do == "return":
        return f"return {on_denied.value!r:.40}"
    return f"wait {on_denied.timeout}" if on_denied.do == "wait" else "raise"


def _triggers(triggers: Triggers) -> Iterator[str]:
    """Yield each trigger as `soft_threshold_exceeded`, `remaining_budget_below 5.00`."""
    for name in triggers.__struct_fields__:
        value = getattr(triggers, name)
        if value is not None and value is not False:
            yield name if value is True else f"{name} {value}"


def format_pattern(pattern: Pattern) -> str:
    """Format a pattern: `acme or b*`, `present`, `absent`."""
    if pattern is None:
        return "absent"
    if isinstance(pattern, str):
        return "present" if pattern == "*" else pattern
    return "present" if "*" in pattern else " or ".join(pattern)
