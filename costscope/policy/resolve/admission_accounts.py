"""What the admission of a run asks of its budgets: a run counted, slots, and that no level forbids new runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.ledger.meters import ADMISSION_METERS, MAX_AMOUNT, SLOTS
from costscope.policy.resolve.accounts import account, slot_account
from costscope.policy.resolve.levels import Level, forbidding_levels, levels_of, lowest_levels, refuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.ledger.commands import Account
    from costscope.policy.model.schema import Budget


def admission_accounts(
    budget: Budget, labels: Mapping[str, str], at_ms: int, *, halts: bool = False
) -> Iterator[Account]:
    """Yield the accounts in which the admission of a run under a budget reserves; none if it does not care about runs.

    A level that forbids new runs is a limit one below it, of which the admission asks nothing: so it is refused in
    the same step that counts the run, with others spending at the same moment. Meters that forbid nothing are there
    without a limit, so that a balance reads the same as in the account of calls.

    Args:
        budget: one that covers the labels.
        labels: of the scope that opens the run.
        at_ms: an instant in ms since the epoch.
        halts: orders to admit no new runs may stand in the budget's slots.
    """
    levels = admission_levels(budget)
    watch = lowest_levels((level.meter, level.amount) for level in levels)
    forced = dict(_forced_limits(budget))
    if forced or any(level.threshold is None and level.meter not in SLOTS for level in levels):
        real = account(budget, labels, at_ms)
        yield msgspec.structs.replace(
            real,
            limits=tuple((meter, forced.get(meter, MAX_AMOUNT)) for meter, _ in real.limits),
            watch=tuple(level for level in watch if level[0] not in SLOTS),
        )
    slots = slot_account(budget, labels, "concurrent_runs", halts=halts, watch=watch)
    if slots is not None:
        yield slots


def admission_levels(budget: Budget) -> tuple[Level, ...]:
    """List what the admission of a run may be told of: thresholds, and what its budget would have refused it for."""
    levels = [
        level
        for level in levels_of(budget, in_run=False)
        if level.threshold is not None or level.meter in ADMISSION_METERS
    ]
    if not refuses(budget, in_run=False):
        levels += [
            Level(meter, amount, limit) for meter, amount, limit in forbidding_levels(budget, by_limit=True)
        ]
    if budget.enforcement == "shadow":
        levels += [
            Level(meter, amount, limit) for meter, amount, limit in forbidding_levels(budget, by_limit=False)
        ]
    return tuple(levels)


def _forced_limits(budget: Budget) -> Iterator[tuple[str, int]]:
    """Yield the limits that hold for an admission."""
    enforced = refuses(budget, in_run=False)
    if "runs" in budget.limits:
        yield "runs", dict(budget.ceilings)["runs"] if enforced else MAX_AMOUNT
    levels = list(forbidding_levels(budget, by_limit=True)) if enforced else []
    if budget.enforcement != "shadow":
        levels += forbidding_levels(budget, by_limit=False)
    yield from ((meter, level - 1) for meter, level in lowest_levels((m, level) for m, level, _ in levels))
