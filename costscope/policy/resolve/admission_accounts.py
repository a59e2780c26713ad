"""What the admission of a run asks of its budgets: a run counted, slots, and that no level forbids new runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.ledger.meters import ADMISSION_METERS, MAX_AMOUNT, SLOTS
from costscope.policy.resolve.accounts import account, slot_account
from costscope.policy.resolve.levels import Mark, forbidding_levels, lowest_levels, marks_of, refuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.ledger.commands import Account
    from costscope.policy.model.schema import Budget

__all__ = ["admission_accounts", "admission_marks"]


def admission_accounts(
    budget: Budget, labels: Mapping[str, str], at_ms: int, *, halts: bool = False
) -> Iterator[Account]:
    """The accounts in which the admission of a run under this budget reserves, none if it does not care about runs.

    A level that forbids new runs is a limit one below it, of which the admission asks nothing: so it is refused in
    the same step that counts the run, whoever else spends at the same moment. Meters that forbid nothing are there
    without a limit, so that a balance reads the same as in the account of calls.

    Args:
        budget: one that covers the labels.
        labels: of the scope that opens the run.
        at_ms: an instant in ms since the epoch.
        halts: orders to admit no new runs may stand in the budget's slots.
    """
    marks = admission_marks(budget)
    watch = lowest_levels((mark.meter, mark.level) for mark in marks)
    forced = dict(_forced(budget))
    if forced or any(mark.threshold is None and mark.meter not in SLOTS for mark in marks):
        real = account(budget, labels, at_ms)
        yield msgspec.structs.replace(
            real,
            limits=tuple((meter, forced.get(meter, MAX_AMOUNT)) for meter, _ in real.limits),
            watch=tuple(level for level in watch if level[0] not in SLOTS),
        )
    slots = slot_account(budget, labels, "concurrent_runs", halts=halts, watch=watch)
    if slots is not None:
        yield slots


def admission_marks(budget: Budget) -> tuple[Mark, ...]:
    """What the admission of a run may be told of: thresholds, and what its budget would have refused it for."""
    marks = [
        mark
        for mark in marks_of(budget, in_run=False)
        if mark.threshold is not None or mark.meter in ADMISSION_METERS
    ]
    if not refuses(budget, in_run=False):
        marks += [
            Mark(meter, level, limit) for meter, level, limit in forbidding_levels(budget, by_limit=True)
        ]
    if budget.enforcement == "shadow":
        marks += [
            Mark(meter, level, limit) for meter, level, limit in forbidding_levels(budget, by_limit=False)
        ]
    return tuple(marks)


def _forced(budget: Budget) -> Iterator[tuple[str, int]]:
    """The limits that hold for an admission."""
    enforced = refuses(budget, in_run=False)
    if "runs" in budget.limits:
        yield "runs", dict(budget.ceilings)["runs"] if enforced else MAX_AMOUNT
    levels = list(forbidding_levels(budget, by_limit=True)) if enforced else []
    if budget.enforcement != "shadow":
        levels += forbidding_levels(budget, by_limit=False)
    yield from ((meter, level - 1) for meter, level in lowest_levels((m, level) for m, level, _ in levels))
