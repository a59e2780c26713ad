"""Amounts, counts and durations: what a number of the right type can still get wrong."""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, Final

from costscope.errors import InvalidAmount
from costscope.ledger.meters import METERS
from costscope.policy.controls import WALL_CLOCK, ceiling
from costscope.policy.document import cut
from costscope.policy.durations import to_ms

if TYPE_CHECKING:
    from costscope.policy.controls import Amount, Duration

__all__ = ["LIMITS", "amount_problem", "duration_problem", "limit_problem", "percent_problem"]

LIMITS: Final = (*(meter for meter in METERS if meter != "halts"), WALL_CLOCK)
"""What a budget can limit."""


def limit_problem(meter: str, amount: Amount) -> str | None:
    """What is wrong with a limit of a budget."""
    if meter not in LIMITS:
        near = difflib.get_close_matches(meter[:64], LIMITS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(LIMITS)}"
        return f"unknown meter {cut(meter)}; {hint}"
    if meter == WALL_CLOCK:
        return duration_problem(amount, WALL_CLOCK)
    return amount_problem(meter, amount)


def amount_problem(meter: str, amount: Amount) -> str | None:
    """What is wrong with an amount of a meter."""
    if meter != "cost" and isinstance(amount, str):
        return f"{cut(amount)} is text; write a whole number without quotes, such as 1000"
    try:
        ceiling(meter, amount)
    except InvalidAmount as error:
        return str(error)
    return None


def duration_problem(duration: Duration, what: str, *, zero: bool = False) -> str | None:
    """What is wrong with a duration; that it is 0, unless that may be."""
    try:
        milliseconds = to_ms(duration, what=what)
    except InvalidAmount as error:
        return str(error)
    if milliseconds == 0 and not zero:
        return f"{what}: {cut(duration)} ends before it begins; give at least 1ms, such as 30s"
    return None


def percent_problem(percent: float, what: str, *, most: float, zero: bool = False) -> str | None:
    """What is wrong with a percentage between 0 and `most`, both of which are outside (0 may be allowed)."""
    if math.isfinite(percent) and (percent > 0 or (zero and percent == 0)) and percent < most:
        return None
    least = "0" if zero else "more than 0"
    return f"{what}: {cut(percent)} is out of range; give percent, {least} and below {most:g}, such as 80"
