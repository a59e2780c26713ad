"""The levels of an account at which its budget does something beside refusing."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

import msgspec

from costscope.ledger.meters import ADMISSION_METERS, SLOTS
from costscope.policy.actions import any_refuses
from costscope.policy.model.controls import Threshold
from costscope.pricing.money import to_nano

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costscope.policy.model.schema import Budget, Policy

__all__ = ["Mark", "forbidding_levels", "level_of", "lowest_levels", "marks_of", "refuses", "watch_levels"]


class Mark(msgspec.Struct, frozen=True):
    """From `level` on, `spent + held` of a meter means something."""

    meter: str
    level: int
    limit: int
    threshold: Threshold | None = None
    """None: the limit itself is passed, in a budget that lets calls through."""


def marks_of(budget: Budget, *, in_run: bool) -> tuple[Mark, ...]:
    """The thresholds of a budget, for each meter they apply to, the lowest first; last what is above its limit."""
    marks = [
        Mark(meter, level_of(limit, threshold.at), limit, threshold)
        for threshold in sorted(budget.thresholds, key=lambda threshold: threshold.at)
        for meter, limit in budget.ceilings
        if threshold.meter in {None, meter}
    ]
    if not refuses(budget, in_run=in_run):
        marks += [Mark(meter, limit + 1, limit) for meter, limit in budget.ceilings]
    return tuple(marks)


def watch_levels(policy: Policy, budget: Budget, *, in_run: bool) -> tuple[tuple[str, int], ...]:
    """The lowest level of each meter that anybody wants to hear of: marks, and what routes fall back on."""
    levels = [(mark.meter, mark.level) for mark in marks_of(budget, in_run=in_run)]
    for meter, limit in budget.ceilings:
        if meter == "cost":
            levels += (("cost", level) for level in _trigger_levels(policy, limit))
    return lowest_levels(levels)


def lowest_levels(levels: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The lowest of each meter."""
    lowest: dict[str, int] = {}
    for meter, level in levels:
        lowest[meter] = min(level, lowest.get(meter, level))
    return tuple(lowest.items())


def forbidding_levels(budget: Budget, *, by_limit: bool) -> Iterator[tuple[str, int, int]]:
    """`(meter, level, limit)`: from this level on the budget admits no new runs.

    Args:
        budget: any.
        by_limit: those of `on_limit`; else those of thresholds with `halt_new_runs`.
    """
    for meter, limit in budget.ceilings:
        if meter in SLOTS or meter in ADMISSION_METERS:
            continue
        if by_limit:
            if budget.on_limit in {"reject_new_runs", "halt_run"}:
                yield meter, max(limit, 1), limit
            continue
        for threshold in budget.thresholds:
            if threshold.meter in {None, meter} and any_refuses(threshold.actions, "new_runs"):
                yield meter, level_of(limit, threshold.at), limit


def refuses(budget: Budget, *, in_run: bool) -> bool:
    """True if the limits of a budget stop a call; else they are watched only."""
    return budget.enforcement == "hard" and not (in_run and budget.on_limit == "reject_new_runs")


def level_of(limit: int, percent: float) -> int:
    """The least `spent + held` that is this percentage of a limit; at least 1, since nothing is no crossing."""
    return max(ceil(Fraction(repr(percent)) * limit / 100), 1)


def _trigger_levels(policy: Policy, limit: int) -> Iterator[int]:
    for route in policy.routing:
        for stage in route.stages:
            triggers = stage.downgrade_on
            if triggers is None:
                continue
            if triggers.remaining_budget_below is not None:
                below = to_nano(triggers.remaining_budget_below, what="remaining_budget_below")
                yield max(limit - below + 1, 0)
            if triggers.utilization_above is not None:
                yield floor(Fraction(repr(triggers.utilization_above)) * limit / 100) + 1
