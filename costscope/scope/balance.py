"""What stands in the accounts of a scope, as people read it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from costscope.policy.about import about_of, resets_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costscope.ledger import Account, Balance

__all__ = ["AccountBalance", "balances_of"]


class AccountBalance(msgspec.Struct, frozen=True):
    """One meter of one account.

    Numbers are in the meter's unit: `cost` in nano-units of the currency, tokens, calls.
    """

    budget: str
    labels: dict[str, str | None]
    period: str
    meter: str
    limit: int
    spent: int
    held: int
    resets_at: datetime | None
    """When the account's window ends (UTC); None if it has none."""
    key: str
    enforced: bool = True
    """False: the budget lets calls through above this limit (`enforcement: soft` or `shadow`, or, in a run,
    `on_limit: reject_new_runs`)."""

    @property
    def remaining(self) -> int:
        """What may still be reserved; never negative, though commits may take `spent` past the limit."""
        return max(self.limit - self.spent - self.held, 0)

    @property
    def utilisation(self) -> float:
        """(spent + held) / limit; 1.0 for a limit of 0."""
        return (self.spent + self.held) / self.limit if self.limit else 1.0


def balances_of(accounts: Iterable[Account], balances: Iterable[Balance]) -> list[AccountBalance]:
    """One row per account and meter; an empty balance reads as nothing spent, nothing held."""
    rows = []
    for account, balance in zip(accounts, balances, strict=True):
        about = about_of(account.about)
        for at, (meter, limit) in enumerate(account.limits):
            if meter not in about.limits:  # orders to stop, and what only the admission of runs counts
                continue
            spent, held = balance[2 * at : 2 * at + 2] if balance else (0, 0)
            rows.append(
                AccountBalance(
                    budget=about.budget,
                    labels=about.labels,
                    period=about.period,
                    meter=meter,
                    limit=about.limits[meter],  # what the ledger is given is none in a soft budget
                    spent=spent,
                    held=held,
                    resets_at=resets_at(account),
                    key=account.key,
                    enforced=limit == about.limits[meter],
                )
            )
    return rows
