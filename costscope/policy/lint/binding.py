"""Limits that can never bind: a broader budget always stops first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.ledger.meters import SLOTS
from costscope.policy.lint.cover import covers_rules, fixed_labels
from costscope.policy.words import amount_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.policy.document import Steps
    from costscope.policy.schema import Budget, Policy

__all__ = ["binding_warnings"]

_INSIDE: Final = {
    "hourly": ("daily", "weekly", "monthly", "quarterly", "yearly"),
    "daily": ("weekly", "monthly", "quarterly", "yearly"),
}
"""Periods whose windows lie within one window of these, wherever those begin."""


def binding_warnings(policy: Policy) -> Iterator[tuple[Steps, str]]:
    """Each limit below which another budget that covers the same always stops."""
    for index, narrow in enumerate(policy.budgets):
        for meter, limit in narrow.ceilings:
            for before, broad in enumerate(policy.budgets):
                least = dict(broad.ceilings).get(meter)
                if broad is narrow or least is None or least > limit or not _stops(broad):
                    continue
                if not _holds_all_of(broad, narrow, meter):
                    continue
                if least == limit and before > index and _holds_all_of(narrow, broad, meter):
                    continue  # they are the same; said once
                said = amount_words(meter, least, policy.currency)
                yield (
                    ("budgets", index, "limits", meter),
                    (
                        f"can never bind: the budget {broad.id} covers all of it and stops at {said} "
                        f"{_how_often(broad)}; lower this limit, or remove it"
                    ),
                )
                break


def _stops(budget: Budget) -> bool:
    return budget.enforcement == "hard" and budget.on_limit != "reject_new_runs"


def _holds_all_of(broad: Budget, narrow: Budget, meter: str) -> bool:
    """Whatever counts in one account of the narrow budget counts in one account of the broad one."""
    if not covers_rules(broad.rules, narrow.rules):
        return False
    if not set(broad.per) <= {*narrow.per, *fixed_labels(narrow.rules)}:
        return False
    return meter in SLOTS or _windows_hold(broad, narrow)


def _windows_hold(broad: Budget, narrow: Budget) -> bool:
    if broad.period == "total":
        return True
    if broad.timezone != narrow.timezone:
        return False
    if broad.period == narrow.period:
        return _calendar(broad) == _calendar(narrow)
    if broad.period in _INSIDE.get(narrow.period, ()):
        return True
    if narrow.period == "quarterly" and broad.period == "yearly":
        return _calendar(broad) == _calendar(narrow)
    # Months that begin on the first lie within quarters and years that do.
    return (
        narrow.period == "monthly"
        and broad.period in {"quarterly", "yearly"}
        and narrow.cycle_day in {None, 1}
        and (broad.year_start or "01-01").endswith("-01")
    )


def _calendar(budget: Budget) -> tuple[object, ...]:
    return budget.week_start or "monday", budget.year_start or "01-01", budget.cycle_day or 1


def _how_often(budget: Budget) -> str:
    return "in total" if budget.period == "total" else budget.period
