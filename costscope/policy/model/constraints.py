"""The limits of a single run: what several budgets say about it, merged.

Hard limits never override one another; constraints do. For each field the most specific budget that says something
about it decides, and among equally specific ones the smaller value. Budgets that are not hard have a say among
themselves only: what they allow must not loosen what holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.meters import METERS
from costscope.policy.model.controls import WALL_CLOCK
from costscope.policy.model.schema import Budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costscope.policy.model.controls import Constraints


def merged_constraints(budgets: Iterable[Budget]) -> dict[str, tuple[int, str]]:
    """Merge the constraints of budgets into what holds for a run that they cover.

    Args:
        budgets: those that cover the run, in any order.

    Returns:
        Field to `(value, id of the budget it is from)`. The fields are meters, in the ledger's units, in the order of
        `costscope.ledger.meters`; the last one may be `wall_clock`, in ms.
    """
    return {field: candidates[0] for field, candidates in constraint_candidates(budgets).items()}


def constraint_candidates(budgets: Iterable[Budget]) -> dict[str, list[tuple[int, str]]]:
    """List everything that any budget says about each field: first what holds, as in `merged_constraints`."""
    said: dict[str, list[tuple[Budget, int]]] = {}
    for budget in budgets:
        for field, value in limits_of(budget.constraints):
            said.setdefault(field, []).append((budget, value))
    found = {}
    for field in (*METERS, WALL_CLOCK):
        if field in said:
            # The most specific first; among equals the smaller value.
            ranked = sorted(said[field], key=lambda one: one[1])
            ranked.sort(key=lambda one: one[0].specificity, reverse=True)
            found[field] = [(value, budget.id) for budget, value in ranked]
    return found


def run_limits(budgets: Iterable[Budget]) -> tuple[tuple[tuple[str, int], ...], int | None]:
    """Merge hard constraints for the ledger: `(meter, limit)` pairs, and the wall clock in ms or None."""
    merged = merged_constraints(budget for budget in budgets if budget.enforcement == "hard")
    clock = merged.pop(WALL_CLOCK, None)
    return tuple((meter, value) for meter, (value, _) in merged.items()), clock[0] if clock else None


def observed_constraints(budgets: Iterable[Budget]) -> Iterator[Budget]:
    """Yield for each budget that is not hard, and whose constraints count, a budget with these as its limits.

    Of the wall clock nothing is told: no ledger counts it.
    """
    known = list(budgets)
    for enforcement in ("soft", "shadow"):
        some = [budget for budget in known if budget.enforcement == enforcement]
        merged = merged_constraints(some)
        for budget in some:
            limits = {
                field: getattr(budget.constraints, field)
                for field, (_, owner) in merged.items()
                if owner == budget.id and field != WALL_CLOCK
            }
            if limits:
                yield Budget(
                    id=budget.id,
                    match=budget.match,
                    limits=limits,
                    enforcement=budget.enforcement,
                    on_outage=budget.on_outage,
                )


def limits_of(limits: Budget | Constraints | None) -> Iterator[tuple[str, int]]:
    """Yield each limit in the ledger's unit, last the wall clock in ms."""
    if limits is not None:
        yield from limits.ceilings
        if limits.wall_clock_ms is not None:
            yield WALL_CLOCK, limits.wall_clock_ms
