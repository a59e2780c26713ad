"""What is published of one meter: of one account, or of several together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from costscope.money import NANO
from costscope.reports import forecast

if TYPE_CHECKING:
    from costscope.reports import AccountRow, BurnRates, MeterRow

__all__ = ["Figures", "figures", "together"]


class Figures(msgspec.Struct, frozen=True):
    """Amounts are in base units: `cost` in the currency, other meters as counted. None: not known, or no limit."""

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
    """The figures of one meter of one account, at the instant of a snapshot."""
    unit = NANO if line.meter == "cost" else 1
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


def together(one: Figures, more: Figures) -> Figures:
    """Two accounts as one: amounts are added, of the rest the one that is worse off counts."""
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
