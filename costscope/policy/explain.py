"""A policy in words, for `costscope check`: what each budget covers, how it is split, when it starts anew."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from costscope.money import format_money
from costscope.policy.periods import load_zone
from costscope.policy.schema import Outage, Unscoped

if TYPE_CHECKING:
    from costscope.policy.schema import Budget, Pattern, Policy

__all__ = ["BudgetExplained", "PolicyExplained", "explain"]


class BudgetExplained(msgspec.Struct, frozen=True):
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
    on_outage: Outage


class PolicyExplained(msgspec.Struct, frozen=True):
    """A whole policy in words, in the order of the file."""

    budgets: tuple[BudgetExplained, ...]
    unscoped: Unscoped
    currency: str


def explain(policy: Policy, at_ms: int) -> PolicyExplained:
    """The policy in words.

    Args:
        policy: one from `load_policy`.
        at_ms: the instant whose windows are shown, in ms since the epoch.
    """
    budgets = tuple(_budget(budget, policy.currency, at_ms) for budget in policy.budgets)
    return PolicyExplained(budgets, policy.unscoped, policy.currency)


def _budget(budget: Budget, currency: str, at_ms: int) -> BudgetExplained:
    zone = load_zone(budget.timezone)
    start_ms, end_ms = budget.window(at_ms)
    conditions = ", ".join(f"{label} is {_pattern(pattern)}" for label, pattern in budget.match.items())
    return BudgetExplained(
        id=budget.id,
        covers=conditions or "every scope",
        split=f"one account per {' and '.join(budget.per)}" if budget.per else "one account for all",
        resets=_resets(budget),
        window_start=_moment(start_ms, zone) if end_ms else None,
        window_end=_moment(end_ms, zone) if end_ms else None,
        limits={meter: _amount(meter, limit, currency) for meter, limit in budget.ceilings},
        on_outage=budget.on_outage,
    )


def _pattern(pattern: Pattern) -> str:
    if pattern is None:
        return "absent"
    if isinstance(pattern, str):
        return "present" if pattern == "*" else pattern
    return " or ".join(pattern)


def _resets(budget: Budget) -> str:
    if budget.period == "total":
        return "never"
    week = f" from {budget.week_start or 'monday'}" if budget.period == "weekly" else ""
    return f"{budget.period}{week}, {budget.timezone}"


def _moment(at_ms: int, zone: dt.tzinfo) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).astimezone(zone)


def _amount(meter: str, limit: int, currency: str) -> str:
    return format_money(limit, currency) if meter == "cost" else f"{limit:,} {meter.replace('_', ' ')}"
