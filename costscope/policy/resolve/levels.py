"""The levels of an account at which its budget does something beside refusing."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

import msgspec

from costscope.ledger.meters import ADMISSION_METERS, SLOTS
from costscope.policy.model.actions import any_refuses
from costscope.policy.model.controls import Threshold
from costscope.pricing.money import to_nano

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costscope.policy.model.schema import Budget, Policy


class Level(msgspec.Struct, frozen=True):
    """From `amount` on, `spent + held` of a meter means something."""

    meter: str
    amount: int
    limit: int
    threshold: Threshold | None = None
    """None: the limit itself is passed, in a budget that lets calls through."""


def levels_of(budget: Budget, *, in_run: bool) -> tuple[Level, ...]:
    """List the thresholds of a budget, for each meter they apply to, the lowest first; last what is above its limit."""
    levels = [
        Level(meter, amount_at(limit, threshold.at), limit, threshold)
        for threshold in sorted(budget.thresholds, key=lambda threshold: threshold.at)
        for meter, limit in budget.ceilings
        if threshold.meter in {None, meter}
    ]
    if not refuses(budget, in_run=in_run):
        levels += [Level(meter, limit + 1, limit) for meter, limit in budget.ceilings]
    return tuple(levels)


def watch_levels(policy: Policy, budget: Budget, *, in_run: bool) -> tuple[tuple[str, int], ...]:
    """Find the lowest level of each meter that is watched: for thresholds, and for what routes fall back on."""
    levels = [(level.meter, level.amount) for level in levels_of(budget, in_run=in_run)]
    cost = dict(budget.ceilings).get("cost")
    if cost is not None:
        levels += (("cost", level) for level in _trigger_levels(policy, cost))
    return lowest_levels(levels)


def lowest_levels(levels: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Find the lowest level of each meter."""
    lowest: dict[str, int] = {}
    for meter, level in levels:
        lowest[meter] = min(level, lowest.get(meter, level))
    return tuple(lowest.items())


def forbidding_levels(budget: Budget, *, by_limit: bool) -> Iterator[Level]:
    """Yield the levels from which on the budget admits no new runs.

    Args:
        budget: any.
        by_limit: those of `on_limit`; else those of thresholds with `halt_new_runs`.
    """
    for meter, limit in budget.ceilings:
        if meter in SLOTS or meter in ADMISSION_METERS:
            continue
        if by_limit:
            if budget.on_limit in {"reject_new_runs", "halt_run"}:
                yield Level(meter, max(limit, 1), limit)
            continue
        for threshold in budget.thresholds:
            if threshold.meter in {None, meter} and any_refuses(threshold.actions, "new_runs"):
                yield Level(meter, amount_at(limit, threshold.at), limit)


def refuses(budget: Budget, *, in_run: bool) -> bool:
    """Tell whether the limits of a budget stop a call; else they are watched only."""
    return budget.enforcement == "hard" and not (in_run and budget.on_limit == "reject_new_runs")


def amount_at(limit: int, percent: float) -> int:
    """Find the least `spent + held` that is this percentage of a limit; at least 1, since nothing is no crossing."""
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
