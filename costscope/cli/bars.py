"""A bar of what is spent, held and free; readable without colour, and without Unicode."""

from __future__ import annotations

from typing import Final

from rich.text import Text

__all__ = ["bar", "legend", "percent"]

_BLOCKS: Final = ("█", "▒", "░")
_ASCII: Final = ("#", "+", ".")
_NEARLY: Final = 80
_FULL: Final = 100


def bar(spent: int, held: int, limit: int, width: int, *, ascii_only: bool = False) -> Text:
    """Spent, held and free as shares of a limit, `width` characters long.

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
    """An amount in percent of a limit, to the nearest; 100 for a limit of 0."""
    return _rounded(100 * amount, limit) if limit else 100


def legend(*, ascii_only: bool = False) -> Text:
    """What the marks mean."""
    spent, held, free = _ASCII if ascii_only else _BLOCKS
    return Text(f"{spent} spent  {held} held  {free} free", style="bright_black")


def _cells(amount: int, limit: int, width: int) -> int:
    if amount <= 0:
        return 0
    if amount >= limit:
        return width
    return max(_rounded(amount * width, limit), 1)


def _rounded(number: int, by: int) -> int:
    return (2 * number + by) // (2 * by)


def _colour(spent: int, limit: int) -> str:
    if percent(spent, limit) >= _FULL:
        return "red"
    return "yellow" if percent(spent, limit) >= _NEARLY else "green"
