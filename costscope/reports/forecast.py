"""When an account will be exhausted if it goes on like this, and whether it resets before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from costscope.reports.accounts import AccountRow, MeterRow

__all__ = ["Forecast", "forecast"]


class Forecast(msgspec.Struct, frozen=True):
    """One meter of one account, looked at from one instant. Amounts in the meter's unit (`cost`: nano-units)."""

    left: int
    """What may still be reserved; never negative."""
    utilisation: float
    """(spent + held) / limit; 1.0 for a limit of 0."""
    exhausted_s: float | None
    """Seconds until nothing is left; 0.0: nothing is; infinite: it is not being spent; None: no rate is known."""
    reset_s: float | None
    """Seconds until the window ends; None: it has none."""
    at_reset: float | None
    """The utilisation at the end of the window if it goes on like this; None: no window, or no rate is known."""

    @property
    def lasts(self) -> bool:
        """True if the reset comes first, or nothing is being spent as far as is known."""
        if self.exhausted_s is None:
            return True
        return self.exhausted_s >= (math.inf if self.reset_s is None else max(self.reset_s, 0.001))


def forecast(row: AccountRow, line: MeterRow, now_ms: int, rate: float | None) -> Forecast | None:
    """What becomes of a meter; None where nothing limits it.

    Args:
        row: the account.
        line: one of its meters.
        now_ms: the instant of the snapshot.
        rate: of the meter, per second; None if it is not known, which it never is of a slot.
    """
    if line.limit is None:
        return None
    used = line.counters.spent + line.counters.held
    left = max(line.limit - used, 0)
    reset_s = max(row.end_ms - now_ms, 0) / 1000 if row.end_ms else None
    return Forecast(
        left=left,
        utilisation=_share(used, line.limit),
        exhausted_s=_exhausted(left, rate),
        reset_s=reset_s,
        at_reset=None if rate is None or reset_s is None else _share(used + rate * reset_s, line.limit),
    )


def _share(used: float, limit: int) -> float:
    return used / limit if limit else 1.0


def _exhausted(left: int, rate: float | None) -> float | None:
    if not left:
        return 0.0
    if rate is None:
        return None
    return left / rate if rate > 0 else math.inf
