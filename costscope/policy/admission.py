"""What the admission of a run asks of its budgets: a run counted, slots, and that no level forbids new runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.ledger.meters import MAX_AMOUNT
from costscope.policy.accounts import account, slot_account
from costscope.policy.marks import level_of, refuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.ledger.commands import Account
    from costscope.policy.schema import Budget

__all__ = ["admission_accounts"]


def admission_accounts(
    budget: Budget, labels: Mapping[str, str], at_ms: int, *, halts: bool = False
) -> Iterator[Account]:
    """The accounts in which the admission of a run under this budget reserves, none if it does not care about runs.

    A level that forbids new runs is a limit one below it, of which the admission asks nothing: so it is refused in
    the same step that counts the run, whoever else spends at the same moment.

    Args:
        budget: one that covers the labels.
        labels: of the scope that opens the run.
        at_ms: an instant in ms since the epoch.
        halts: orders to admit no new runs may stand in the budget's slots.
    """
    limits = tuple(_limits(budget))
    if limits:
        yield msgspec.structs.replace(account(budget, labels, at_ms), limits=limits, watch=())
    slots = slot_account(budget, labels, "concurrent_runs", halts=halts)
    if slots is not None:
        yield slots


def _limits(budget: Budget) -> Iterator[tuple[str, int]]:
    enforced = refuses(budget, in_run=False)
    for meter, limit in budget.ceilings:
        if meter == "runs":
            yield meter, limit if enforced else MAX_AMOUNT
        elif meter not in {"concurrent_runs", "concurrent_calls"} and budget.enforcement != "shadow":
            levels = [
                level_of(limit, threshold.at)
                for threshold in budget.thresholds
                if threshold.meter in {None, meter}
                and any(action.do == "halt_new_runs" for action in threshold.actions)
            ]
            if enforced and budget.on_limit in {"reject_new_runs", "halt_run"}:
                levels.append(max(limit, 1))
            if levels:
                yield meter, min(levels) - 1
