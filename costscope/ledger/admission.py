"""The rule of admission: spent + held + amount <= limit, in every account, and what to say when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from costscope.ledger.commands import Denial

if TYPE_CHECKING:
    from costscope.ledger.commands import Amounts, Reserve
    from costscope.ledger.plan import Plan

__all__ = ["denial", "units_that_fit"]

_RANK: Final = {"in_flight": 1, "exhausted": 2, "never_fits": 3}


def units_that_fit(command: Reserve, plan: Plan) -> int:
    """The largest number of steps every account can pay for, at least `units_min` (admission then decides)."""
    units, amounts = command.units_max, command.amounts
    for meter, limit, cell, _ in plan.lines:
        step = command.step.get(meter, 0)
        if step and meter in amounts:
            room = limit - cell.spent - cell.held - amounts[meter]
            units = min(units, max(room, 0) // step)
    return max(units, command.units_min)


def denial(amounts: Amounts, plan: Plan) -> Denial | None:
    """The first of the hardest refusals: waiting for one account is no use while another is exhausted.

    None if every account admits.
    """
    worst: Denial | None = None
    at = 0
    lines = iter(plan.lines)
    for at, account in enumerate(plan.accounts):
        for _ in account.limits:
            meter, limit, cell, _ = next(lines)
            amount = amounts.get(meter)
            if amount is None or cell.spent + cell.held + amount <= limit:
                continue
            found = Denial(_kind(amount, cell.spent, limit), at, meter, limit, cell.spent, cell.held, amount)
            if worst is None or _RANK[found.kind] > _RANK[worst.kind]:
                worst = found
    return worst


def _kind(amount: int, spent: int, limit: int) -> Literal["exhausted", "in_flight", "never_fits"]:
    if amount > limit:
        return "never_fits"
    return "exhausted" if spent + amount > limit else "in_flight"
