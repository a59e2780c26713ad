"""Where a meter is heading, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from costscope.cli.spans import pace, span

if TYPE_CHECKING:
    from costscope.reports import Forecast, MeterRow

__all__ = ["outlook"]

_AT_ONCE_S: Final = 0.5
"""What is left is seldom exactly nothing."""


def outlook(line: MeterRow, rate: float | None, ahead: Forecast | None) -> Text:
    """`0.0120/min  exhausted in 3 h 10 min, 2 h before the reset`; empty where nothing can be said."""
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
