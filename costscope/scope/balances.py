"""What stands in the accounts of a scope, as people read it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from costscope.errors import DENIALS, DenialKind, StoreUnavailable
from costscope.ledger import Amounts, Read
from costscope.ledger.admission import denial_kind
from costscope.policy.resolve.accounts import account_info_of, resets_at
from costscope.pricing.money import currency, format_amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from costscope.engine.state.scope_state import ScopeState
    from costscope.ledger import Account, Balance
    from costscope.pricing.estimate.amounts import Estimate


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
    """Return one row per account and meter; an empty balance reads as nothing spent, nothing held."""
    rows = []
    for account, balance in zip(accounts, balances, strict=True):
        info = account_info_of(account.about)
        for at, (meter, limit) in enumerate(account.limits):
            if meter not in info.limits:  # orders to stop, and what only the admission of runs counts
                continue
            spent, held = balance[2 * at : 2 * at + 2] if balance else (0, 0)
            rows.append(
                AccountBalance(
                    budget=info.budget,
                    labels=info.labels,
                    period=info.period,
                    meter=meter,
                    limit=info.limits[meter],  # what the ledger is given is none in a soft budget
                    spent=spent,
                    held=held,
                    resets_at=resets_at(account),
                    key=account.key,
                    enforced=limit == info.limits[meter],
                )
            )
    return rows


class Preview(msgspec.Struct, frozen=True):
    """The answer to `scope.preview(...)`; another caller may change it the moment after."""

    allowed: bool
    kind: DenialKind | None
    """Why not: `never_fits`, `exhausted` or `in_flight`; None when it is allowed."""
    requested: Amounts
    """What would be held, by meter (`cost` in nano-units)."""
    tightest: AccountBalance | None
    """The account that refuses, else the one with the largest share of its room taken; None without budgets."""
    fits: int
    """How many such calls fit one after another; -1: no budget limits them."""
    max_output_tokens: int | None
    """With `estimate="capped"`: the output the budgets can still pay for; None when output is not cut."""
    degraded: tuple[str, ...] = ()
    """Budgets that would let it through above their limit, such as soft ones."""

    def __str__(self) -> str:
        verdict = "allowed" if self.allowed else f"refused ({self.kind})"
        if self.tightest is None:
            return f"{verdict}: no budget covers this scope"
        row = self.tightest
        left = format_amount(row.meter, row.remaining)
        wanted = format_amount(row.meter, self.requested.get(row.meter, 0))
        return f"{verdict}: {wanted} asked of budget {row.budget!r}, which has {left} left; {self.fits} such calls fit"


def readings(state: ScopeState) -> tuple[tuple[Account, ...], Sequence[Balance]]:
    """Return the accounts of a scope and what was last seen in each; of a store that does not wait, what is there."""
    accounts = state.accounts(state.services.now_ms())
    store = state.services.store
    if not store.waits:
        try:
            reply = store.execute((Read(accounts),))[0]
        except StoreUnavailable:  # what was seen last, as of a store that waits
            return accounts, tuple(view.balance for view in state.views) or ((),) * len(accounts)
        state.record_balances(accounts, reply)
        return accounts, reply.balances
    return accounts, [view.balance for view in state.views]


def balances(state: ScopeState) -> list[AccountBalance]:
    """Return one row per account and meter over a scope, as last seen."""
    return balances_of(*readings(state))


def own_cost(state: ScopeState) -> tuple[int, int]:
    """Return `(spent, held)` of the scope's own account, or else of this process's calls in it."""
    if state.tally is not None:
        return state.tally.spent, state.tally.held
    own = next(row for row in balances(state) if row.meter == "cost")
    return own.spent, own.held


def own_limit(state: ScopeState) -> Decimal | None:
    """Return the least `cost` that a scope itself or its run is allowed; None where neither has a limit."""
    limits = [row.limit for row in balances(state) if row.meter == "cost" and row.budget.startswith("~")]
    return currency(min(limits)) if limits else None


def least_remaining(state: ScopeState) -> Decimal | None:
    """Return the least that any budget over a scope has left for `cost`; None where none limits it."""
    left = [row.remaining for row in balances(state) if row.meter == "cost"]
    return currency(min(left)) if left else None


def preview(estimate: Estimate, rows: Iterable[AccountBalance]) -> Preview:
    """Judge an estimate against balances, by the rule of admission: spent + held + amount <= limit."""
    known = list(rows)
    limited = [row for row in known if row.enforced]
    units = _units(estimate, limited)
    amounts = _with_units(estimate, units)
    concerned = [row for row in limited if row.meter in amounts]
    refusing = [row for row in concerned if _too_much(row, amounts)]
    tightest = max(refusing or concerned, key=lambda row: _pressure(row, amounts[row.meter]), default=None)
    counts = [row.remaining // amounts[row.meter] for row in concerned if amounts[row.meter]]
    return Preview(
        allowed=not refusing,
        kind=_kind(refusing, amounts),
        requested=amounts,
        tightest=tightest,
        fits=0 if refusing else min(counts, default=-1),
        max_output_tokens=units if estimate.units_max else None,
        degraded=tuple(
            dict.fromkeys(row.budget for row in known if not row.enforced and _too_much(row, amounts))
        ),
    )


def _too_much(row: AccountBalance, amounts: Amounts) -> bool:
    return row.meter in amounts and amounts[row.meter] > row.limit - row.spent - row.held


def _units(estimate: Estimate, rows: list[AccountBalance]) -> int:
    room = [
        (row.remaining - estimate.amounts.get(row.meter, 0)) // estimate.step[row.meter]
        for row in rows
        if estimate.step.get(row.meter)
    ]
    return max(min([estimate.units_max, *room]), estimate.units_min)


def _with_units(estimate: Estimate, units: int) -> Amounts:
    meters = {**estimate.amounts, **estimate.step}
    return {m: estimate.amounts.get(m, 0) + units * estimate.step.get(m, 0) for m in meters}


def _pressure(row: AccountBalance, amount: int) -> float:
    """Return how full the account would be, by its own limit."""
    return (row.spent + row.held + amount) / row.limit if row.limit else float("inf")


def _kind(refusing: list[AccountBalance], amounts: Amounts) -> DenialKind | None:
    kinds = [denial_kind(amounts[row.meter], row.spent, row.limit) for row in refusing]
    return max(kinds, key=lambda kind: DENIALS[kind].rank, default=None)
