"""The accounts of a snapshot as people look at them: named, sorted, with their limits."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from costscope.cli.amounts import exact
from costscope.ledger import COUNTERS, Counters
from costscope.policy import INLINE_BUDGET, AccountAbout, read_about

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.ledger import Snapshot, SnapshotAccount
    from costscope.policy import Policy

__all__ = ["AccountRow", "MeterRow", "account_rows", "as_data", "untouched"]


class MeterRow(msgspec.Struct, frozen=True):
    """One meter of one account, in the meter's unit (`cost`: nano-units)."""

    meter: str
    counters: Counters
    limit: int | None
    """None where nothing limits it any more."""


class AccountRow(msgspec.Struct, frozen=True):
    """One account: a budget, the labels it is split by, a window."""

    key: str
    budget: str
    """The policy's id, `scope` for inline limits, or the raw key of an account that nothing describes."""
    labels: dict[str, str | None]
    period: str | None
    window_start: dt.datetime | None
    window_end: dt.datetime | None
    """UTC; the end is the reset time. None: it never resets."""
    meters: tuple[MeterRow, ...]

    @property
    def name(self) -> str:
        """`team-day  tenant=acme user=(none)`."""
        labels = " ".join(
            f"{name}={'(none)' if value is None else value}" for name, value in self.labels.items()
        )
        return f"{self.budget}  {labels}".rstrip()


def account_rows(snapshot: Snapshot, policy: Policy | None = None) -> list[AccountRow]:
    """Every account of a snapshot: the policy's budgets first, then inline limits as the tree of their labels.

    Args:
        snapshot: what stands in the books.
        policy: says the limits that hold now; without it they are those of the last reservation.
    """
    limits = {budget.id: dict(budget.ceilings) for budget in policy.budgets} if policy is not None else {}
    order = {name: at for at, name in enumerate(limits)}
    found = [(_about(account), account) for account in snapshot.accounts]
    rows = [_row(about, account, limits) for about, account in found]
    return sorted(
        rows,
        key=lambda row: (
            row.budget == "scope",
            order.get(row.budget, len(order)),
            row.budget,
            [(name, value or "") for name, value in row.labels.items()],
            row.window_start.timestamp() if row.window_start else 0.0,
            row.key,
        ),
    )


def untouched(rows: list[AccountRow], policy: Policy | None) -> list[str]:
    """The policy's budgets that have no account yet: nothing was ever reserved under them."""
    touched = {row.budget for row in rows}
    return [budget.id for budget in policy.budgets if budget.id not in touched] if policy is not None else []


def as_data(row: AccountRow) -> dict[str, object]:
    """One account for `--json`: `cost` in units of the currency, every digit; other meters as counted."""
    return {
        "key": row.key,
        "budget": row.budget,
        "labels": row.labels,
        "period": row.period,
        "window_start": row.window_start,
        "resets_at": row.window_end,
        "meters": {line.meter: _numbers(line) for line in row.meters},
    }


def _numbers(line: MeterRow) -> dict[str, object]:
    counters = line.counters
    left = None if line.limit is None else max(line.limit - counters.spent - counters.held, 0)
    amounts = {
        "limit": line.limit,
        "spent": counters.spent,
        "held": counters.held,
        "remaining": left,
        "presumed": counters.presumed,
    }
    return {name: None if value is None else exact(line.meter, value) for name, value in amounts.items()}


def _about(account: SnapshotAccount) -> AccountAbout | None:
    try:
        return read_about(account.about)
    except msgspec.DecodeError:  # written by other hands: the numbers count all the same
        return None


def _row(
    about: AccountAbout | None, account: SnapshotAccount, limits: Mapping[str, Mapping[str, int]]
) -> AccountRow:
    if about is None:
        return AccountRow(account.key, account.key, {}, None, None, None, tuple(_meters(account, {})))
    return AccountRow(
        key=account.key,
        budget="scope" if about.budget == INLINE_BUDGET else about.budget,
        labels=about.labels,
        period=about.period,
        window_start=_moment(about.start_ms) if about.end_ms else None,
        window_end=_moment(about.end_ms) if about.end_ms else None,
        meters=tuple(_meters(account, limits.get(about.budget, about.limits))),
    )


def _meters(account: SnapshotAccount, limits: Mapping[str, int]) -> Iterator[MeterRow]:
    for meter in COUNTERS:
        counters = account.meters.get(meter)
        if counters is not None:
            yield MeterRow(meter, counters, limits.get(meter))


def _moment(at_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
