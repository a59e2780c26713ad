"""Which accounts share a series, and which are only in the sum called `other`.

A ledger may have a hundred thousand accounts; each series costs Prometheus memory for hours and disk for weeks. So
labels pass an allow-list (accounts that differ in other labels are added up), and of each budget only the fullest
accounts have series of their own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import InvalidInput
from costscope.ledger.meters import MONEY
from costscope.observe.reports.forecast import forecast
from costscope.policy.model.patterns import STANDING_LEVELS
from costscope.pricing.money import NANO

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from costscope.observe.reports.account_rows import AccountRow, MeterRow
    from costscope.observe.reports.forecast import BurnRates


class Figures(msgspec.Struct, frozen=True):
    """What is published of one meter, of one account or of several together.

    Amounts are in base units: `cost` in the currency, other meters as counted. None: not known, or no limit.
    """

    held: float
    spent: float | None = None
    """None for a slot, of which nothing is ever spent."""
    limit: float | None = None
    left: float | None = None
    utilisation: float | None = None
    """Of several accounts: of the fullest."""
    rate: float | None = None
    """Per second."""
    exhausted_s: float | None = None
    """Of several accounts: of the first one that will be."""
    reset_s: float | None = None
    """Of several accounts: of the first one."""

    @property
    def live(self) -> bool:
        """Something is held, or was spent within the window of the burn rate."""
        return self.held > 0 or (self.rate or 0.0) > 0


def figures(row: AccountRow, line: MeterRow, now_ms: int, rates: BurnRates) -> Figures:
    """Make the figures of one meter of one account, at the instant of a snapshot."""
    unit = NANO if line.meter in MONEY else 1
    rate = rates.per_second(row.key, line.meter)
    ahead = forecast(row, line, now_ms, rate)
    return Figures(
        held=line.counters.held / unit,
        spent=line.counters.spent / unit if line.spends else None,
        limit=None if line.limit is None else line.limit / unit,
        left=None if ahead is None else ahead.left / unit,
        utilisation=None if ahead is None else ahead.utilisation,
        rate=None if rate is None else rate / unit,
        exhausted_s=None if ahead is None else ahead.exhausted_s,
        reset_s=max(row.end_ms - now_ms, 0) / 1000 if row.end_ms else None,
    )


def add_figures(one: Figures, more: Figures) -> Figures:
    """Join two accounts as one: amounts are added, of the rest the one that is worse off counts."""
    return Figures(
        held=one.held + more.held,
        spent=_total(one.spent, more.spent),
        limit=_total(one.limit, more.limit),
        left=_total(one.left, more.left),
        utilisation=_worst(one.utilisation, more.utilisation, highest=True),
        rate=_total(one.rate, more.rate),
        exhausted_s=_worst(one.exhausted_s, more.exhausted_s),
        reset_s=_worst(one.reset_s, more.reset_s),
    )


def _total(one: float | None, more: float | None) -> float | None:
    known = [value for value in (one, more) if value is not None]
    return math.fsum(known) if known else None


def _worst(one: float | None, more: float | None, *, highest: bool = False) -> float | None:
    known = [value for value in (one, more) if value is not None]
    return (max if highest else min)(known, default=None)


DEFAULT_LABELS: Final = STANDING_LEVELS
"""Without the runs: every run would be new series that are never looked at again."""

OTHER: Final = "other"
_ABSENT: Final = "(none)"
"""What stands for a label that the budget is split by and the scopes of this account lack."""

_OURS: Final = frozenset({"budget", "meter"})
_STAYS: Final = 0.05


class Group(msgspec.Struct, frozen=True):
    """Accounts of one budget that share their series."""

    budget: str
    labels: tuple[str, ...]
    """The values of the allowed labels; empty for a label that the budget is not split by."""
    meters: dict[str, Figures]
    """Those of all accounts together."""
    accounts: int = 1
    halted: int = 0
    """How many of them were told to stop."""

    @property
    def fullest(self) -> float:
        """The highest utilisation of its meters; what nothing limits is not full."""
        return max((found.utilisation or 0.0 for found in self.meters.values()), default=0.0)


class Grouping:
    """Sorts the accounts of successive snapshots into groups.

    Args:
        labels: the names of labels that may become labels of series.
        top: how many groups of each budget have series of their own. One that has them keeps them until another is
            fuller by 5 % of a limit: two that stand close together must not take turns, each time as new series.

    Raises:
        InvalidInput: `top` below 1, or a label that is a part of every series anyway.
    """

    def __init__(self, labels: Collection[str] = DEFAULT_LABELS, top: int = 50) -> None:
        if top < 1:
            msg = f"top {top}: at least 1 account of each budget must have series of its own"
            raise InvalidInput(msg)
        for name in labels:
            if name in _OURS or name.startswith("__") or not name.isidentifier() or not name.isascii():
                msg = f"label {name!r} cannot be a label of these series: name one of the scopes' labels, not {', '.join(sorted(_OURS))} or __*"
                raise InvalidInput(msg)
        self.labels = tuple(dict.fromkeys(labels))
        self._top = top
        self._shown: set[tuple[str, tuple[str, ...]]] = set()

    def groups(self, rows: Iterable[AccountRow], now_ms: int, rates: BurnRates) -> list[Group]:
        """Sort a snapshot into groups, by budget and labels; at most `top` + 1 of each budget.

        Left out are windows that are over, and accounts of runs and of scopes' own limits that hold nothing and are
        not being spent: most of them are those of runs that have ended.
        """
        found: dict[tuple[str, tuple[str, ...]], Group] = {}
        for row in rows:
            if row.end_ms and row.end_ms <= now_ms:
                continue
            meters = {line.meter: figures(row, line, now_ms, rates) for line in row.meters}
            if row.passing and not any(each.live for each in meters.values()):
                continue
            group = Group(row.budget, self._values(row), meters, 1, int(row.halted))
            place = (group.budget, group.labels)
            found[place] = _merge(found[place], group) if place in found else group
        return sorted(self._limit_groups(found.values()), key=lambda group: (group.budget, group.labels))

    def _values(self, row: AccountRow) -> tuple[str, ...]:
        return tuple(
            "" if name not in row.labels else _ABSENT if row.labels[name] is None else str(row.labels[name])
            for name in self.labels
        )

    def _limit_groups(self, groups: Collection[Group]) -> Iterator[Group]:
        budgets: dict[str, list[Group]] = {}
        for group in groups:
            budgets.setdefault(group.budget, []).append(group)
        shown: set[tuple[str, tuple[str, ...]]] = set()
        for budget, all_of_it in budgets.items():
            ranked = sorted(all_of_it, key=self._rank)
            own, rest = ranked[: self._top], ranked[self._top :]
            shown.update((budget, group.labels) for group in own)
            if rest:
                own = _add_rest(own, rest)
            yield from own
        self._shown = shown

    def _rank(self, group: Group) -> tuple[float, tuple[str, ...]]:
        stays = _STAYS if (group.budget, group.labels) in self._shown else 0.0
        return -group.fullest - stays, group.labels


def _add_rest(own: list[Group], rest: list[Group]) -> list[Group]:
    """Return the groups with one more that is the sum of the rest."""
    names = [any(group.labels[at] for group in rest) for at in range(len(rest[0].labels))]
    total = msgspec.structs.replace(rest[0], labels=tuple(OTHER if name else "" for name in names))
    for group in rest[1:]:
        total = _merge(total, group)
    # A tenant may be called `other`: two series with the same labels would be refused, and the scrape with them.
    alike = [group for group in own if group.labels == total.labels]
    for group in alike:
        total = _merge(total, group)
    return [group for group in own if group not in alike] + [total]


def _merge(one: Group, more: Group) -> Group:
    meters = dict(one.meters)
    for meter, found in more.meters.items():
        meters[meter] = add_figures(meters[meter], found) if meter in meters else found
    return Group(one.budget, one.labels, meters, one.accounts + more.accounts, one.halted + more.halted)
