"""Spans of time and rates in words, short enough for a line of 80 columns."""

from __future__ import annotations

from typing import Final

from costscope.money import NANO

__all__ = ["pace", "span"]

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_PACES: Final = ((60, "min"), (3_600, "h"), (86_400, "d"))
_LEAST_MONEY: Final = 0.01
_LEAST_COUNT: Final = 1.0
_WHOLE: Final = 10
_LONG_S: Final = 100 * 365 * 86_400


def span(seconds: float) -> str:
    """`3 h 10 min`, `45 s`, `2 d 4 h`: the two largest units, cut off."""
    if seconds >= _LONG_S:
        return "more than 100 years"
    left = int(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        number, left = divmod(left, size)
        if number or parts:
            parts.append(f"{number} {unit}" if number else "")
        if len(parts) == 2:  # noqa: PLR2004 - more is noise
            break
    return " ".join(part for part in parts if part) or "0 s"


def pace(meter: str, rate: float) -> str:
    """What is spent per minute, or per hour or day where that is too little to be read: `0.0120/min`, `3/h`."""
    money = meter == "cost"
    for seconds, unit in _PACES:
        amount = rate * seconds / (NANO if money else 1)
        if amount >= (_LEAST_MONEY if money else _LEAST_COUNT):
            return f"{_short(amount, money=money)}/{unit}"
    return f"under {_LEAST_MONEY if money else 1}/d"


def _short(amount: float, *, money: bool) -> str:
    if money:
        return (
            f"{amount:,.0f}" if amount >= _WHOLE * 10 else f"{amount:.2f}" if amount >= 1 else f"{amount:.4f}"
        )
    return f"{amount:,.0f}" if amount >= _WHOLE else f"{amount:.1f}"
