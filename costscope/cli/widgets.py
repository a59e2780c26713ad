"""A bar of what is spent, held and free; readable without colour, and without Unicode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from costscope.ledger.meters import MONEY
from costscope.ledger.times import DAY_MS, HOUR_MS, KEEP_MAX_MS, MINUTE_MS, SECOND_MS
from costscope.pricing.money import NANO

if TYPE_CHECKING:
    from costscope.observe.reports.account_rows import MeterRow
    from costscope.observe.reports.forecast import Forecast


_BLOCKS: Final = ("█", "▒", "░")
_ASCII: Final = ("#", "+", ".")
_NEARLY: Final = 80
_FULL: Final = 100


def bar(spent: int, held: int, limit: int, width: int, *, ascii_only: bool = False) -> Text:
    """Draw spent, held and free as shares of a limit, `width` characters long.

    Rounded to the nearest character; what is not zero has at least one.
    """
    used = _cells(spent + held, limit, width)
    full = min(_cells(spent, limit, width), used - 1 if held and used > 1 else used)
    marks = _ASCII if ascii_only else _BLOCKS
    text = Text(no_wrap=True)
    text.append(marks[0] * full, style=_colour(spent, limit))
    text.append(marks[1] * (used - full), style="cyan")
    text.append(marks[2] * (width - used), style="bright_black")
    return text


def percent(amount: int, limit: int) -> int:
    """Give an amount in percent of a limit, to the nearest; 100 for a limit of 0."""
    return _round_ratio(100 * amount, limit) if limit else 100


def legend(*, ascii_only: bool = False) -> Text:
    """Say what the marks mean."""
    spent, held, free = _ASCII if ascii_only else _BLOCKS
    return Text(f"{spent} spent  {held} held  {free} free", style="bright_black")


def _cells(amount: int, limit: int, width: int) -> int:
    if amount <= 0:
        return 0
    if amount >= limit:
        return width
    return max(_round_ratio(amount * width, limit), 1)


def _round_ratio(number: int, by: int) -> int:
    return (2 * number + by) // (2 * by)


def _colour(spent: int, limit: int) -> str:
    if percent(spent, limit) >= _FULL:
        return "red"
    return "yellow" if percent(spent, limit) >= _NEARLY else "green"


_MINUTE, _HOUR, _DAY = (span_ms // SECOND_MS for span_ms in (MINUTE_MS, HOUR_MS, DAY_MS))
_UNITS: Final = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s"))
_PACES: Final = ((_MINUTE, "min"), (_HOUR, "h"), (_DAY, "d"))
_LEAST_MONEY: Final = 0.01
_LEAST_COUNT: Final = 1.0
_WHOLE: Final = 10
_LONG_S: Final = KEEP_MAX_MS // SECOND_MS


def span(seconds: float) -> str:
    """Write `3 h 10 min`, `45 s`, `2 d 4 h`: the two largest units, cut off."""
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
    """Write what is spent per minute, or per hour or day where that is too little to be read: `0.0120/min`, `3/h`."""
    money = meter in MONEY
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


_AT_ONCE_S: Final = 0.5
"""What is left is seldom exactly nothing."""


def outlook(line: MeterRow, rate: float | None, ahead: Forecast | None) -> Text:
    """Write `0.0120/min  exhausted in 3 h 10 min, 2 h before the reset`; empty where nothing can be said."""
    if ahead is not None and ahead.exhausted_s is not None and ahead.exhausted_s < _AT_ONCE_S:
        return Text(f"exhausted{_until_reset(ahead)}", style="red")
    if not rate:  # unknown, or idle: on most lines of most screens
        return Text()
    text = Text(pace(line.meter, rate))
    if ahead is None or ahead.exhausted_s is None:
        return text
    text.append("  ")
    if ahead.lasts:
        return text.append(f"lasts{_at_reset(ahead)}", style="green")
    return text.append(_end(ahead), style="red" if ahead.reset_s is not None else "yellow")


def _end(ahead: Forecast) -> str:
    assert ahead.exhausted_s is not None
    ends = f"exhausted in {span(ahead.exhausted_s)}"
    return (
        ends
        if ahead.reset_s is None
        else f"{ends}, {span(ahead.reset_s - ahead.exhausted_s)} before the reset"
    )


def _at_reset(ahead: Forecast) -> str:
    if ahead.at_reset is None or ahead.reset_s is None:
        return ""
    return f": {100 * ahead.at_reset:.0f}% at the reset in {span(ahead.reset_s)}"


def _until_reset(ahead: Forecast) -> str:
    return "" if ahead.reset_s is None else f", resets in {span(ahead.reset_s)}"
