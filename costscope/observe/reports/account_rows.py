"""The accounts of a snapshot as people look at them: named, sorted, with their limits."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger import HALTS, METERS, SLOTS, Counters
from costscope.policy import AccountInfo, read_account_info
from costscope.policy.model.controls import Enforcement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.ledger import Snapshot, SnapshotAccount
    from costscope.policy import Policy

_SHOWN: Final = tuple(name for name, meter in METERS.items() if meter.kind != "order")
_OF_A_RUN: Final = frozenset({"run", "run_id"})
_SLOTS_OF: Final = "~slots"
"""Behind a budget's id where its slots are counted, in an account of their own."""


class MeterRow(msgspec.Struct, frozen=True):
    """One meter of one account, in the meter's unit (`cost`: nano-units)."""

    meter: str
    counters: Counters
    limit: int | None
    """None where nothing limits it any more."""

    @property
    def spends(self) -> bool:
        """False for a slot: it is only ever held."""
        return self.meter not in SLOTS


class AccountRow(msgspec.Struct, frozen=True):
    """One account: a budget, the labels it is split by, a window."""

    key: str
    budget: str
    """The policy's id; with a `~` in front for limits that scopes and runs brought along; the raw key of an account
    that nothing describes."""
    labels: dict[str, str | None]
    period: str | None
    start_ms: int
    end_ms: int
    """The window, in ms since the epoch; 0 and 0: it never resets."""
    meters: tuple[MeterRow, ...]
    halted: bool = False
    """A stop was ordered: nothing is admitted here any more."""
    enforcement: Enforcement = "hard"
    """What the policy says becomes of what does not fit."""

    @property
    def window_start(self) -> dt.datetime | None:
        """UTC; None where there is no window."""
        return _moment(self.start_ms) if self.end_ms else None

    @property
    def window_end(self) -> dt.datetime | None:
        """When it resets, UTC; None: never."""
        return _moment(self.end_ms) if self.end_ms else None

    @property
    def own(self) -> bool:
        """Limits that a scope or a run brought along, which no policy names."""
        return self.budget.startswith("~")

    @property
    def passing(self) -> bool:
        """The account of a run or of one scope: when that is over, it says nothing new."""
        return self.own or not _OF_A_RUN.isdisjoint(self.labels)

    @property
    def shown(self) -> str:
        """The budget's id without the `~`."""
        return self.budget.removeprefix("~")

    @property
    def name(self) -> str:
        """`team-day  tenant=acme user=(none)`."""
        labels = " ".join(
            f"{name}={'(none)' if value is None else value}" for name, value in self.labels.items()
        )
        return f"{self.shown}  {labels}".rstrip()


def account_rows(snapshot: Snapshot, policy: Policy | None = None) -> list[AccountRow]:
    """Sort every account of a snapshot: the policy's budgets, then limits of scopes as the tree of their labels.

    Args:
        snapshot: what stands in the books.
        policy: says the limits that hold now; without it they are those of the last reservation.
    """
    limits = {budget.id: dict(budget.ceilings) for budget in policy.budgets} if policy is not None else {}
    order = {name: at for at, name in enumerate(limits)}
    enforced = {budget.id: budget.enforcement for budget in policy.budgets} if policy is not None else {}
    rows = [_row(account, limits, enforced) for account in snapshot.accounts]
    return sorted(
        rows,
        key=lambda row: (
            row.own,
            order.get(row.budget, len(order)),
            row.budget,
            [(name, value or "") for name, value in row.labels.items()],
            row.start_ms,
            row.key,
        ),
    )


def untouched_budgets(rows: list[AccountRow], policy: Policy | None) -> list[str]:
    """Return the policy's budgets that have no account yet: nothing was ever reserved under them."""
    touched = {row.budget for row in rows}
    return [budget.id for budget in policy.budgets if budget.id not in touched] if policy is not None else []


def _info(account: SnapshotAccount) -> AccountInfo | None:
    try:
        return read_account_info(account.about)
    except msgspec.DecodeError:  # written by other hands: the numbers count all the same
        return None


def _row(
    account: SnapshotAccount, limits: Mapping[str, Mapping[str, int]], enforced: Mapping[str, Enforcement]
) -> AccountRow:
    info = _info(account)
    stops = account.meters.get(HALTS)
    halted = stops is not None and stops.spent > 0
    if info is None:
        return AccountRow(account.key, account.key, {}, None, 0, 0, tuple(_meters(account, {})), halted)
    budget = info.budget.removesuffix(_SLOTS_OF)
    return AccountRow(
        key=account.key,
        budget=budget,
        labels=info.labels,
        period=info.period,
        start_ms=info.start_ms,
        end_ms=info.end_ms,
        meters=tuple(_meters(account, limits.get(budget, info.limits))),
        halted=halted,
        enforcement=enforced.get(budget, "hard"),
    )


def _meters(account: SnapshotAccount, limits: Mapping[str, int]) -> Iterator[MeterRow]:
    for meter in _SHOWN:
        counters = account.meters.get(meter)
        if counters is not None:
            yield MeterRow(meter, counters, limits.get(meter))


def _moment(at_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
