"""Budgets and routes as lines of a word and what is said about it, which wrap within any width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from costscope.cli.amounts import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from costscope.policy import BudgetExplained
    from costscope.policy.explained import RouteExplained

__all__ = ["Block", "Line", "Wrapped", "budget_lines", "heading", "route_lines"]

_INDENT: Final = 2
_GAP: Final = 2
_NARROWEST: Final = 20

Line = tuple[str, str]
"""What is spoken of, and what is said about it."""


class Wrapped:
    """A text that leaves no spaces where its lines are broken."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from _lines(console, self._text, options.max_width)


def heading(name: str, more: str) -> Wrapped:
    """A name in bold, and behind it what is not."""
    # Text, not str: a file's [brackets] are no markup
    return Wrapped(Text(name, style="bold").append(f"  {more}", style="not bold"))


class Block:
    """The lines below a heading: what is said stands in a column of its own, and nothing stands behind it."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = tuple(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        column = _INDENT + max((len(word) for word, _ in self._lines), default=0) + _GAP
        width = max(options.max_width - column, _NARROWEST)
        for word, said in self._lines:
            before = (
                Text(" " * _INDENT)
                .append(word, style="bright_black")
                .append(" " * (column - _INDENT - len(word)))
            )
            for part in _lines(console, Text(said), width):
                yield before + part
                before = Text(" " * column)


def budget_lines(budget: BudgetExplained) -> Iterator[Line]:
    """What a budget does."""
    if budget.limits:
        yield "limits", ", ".join(budget.limits.values())
    yield "window", _window(budget)
    for threshold in budget.thresholds:
        of = f" of {threshold.meter}" if threshold.meter is not None and len(budget.limits) > 1 else ""
        message = f": {threshold.message}" if threshold.message else ""
        yield f"at {threshold.at:g} %{of}", ", ".join(threshold.actions) + message
    if budget.at_limit:
        yield "at the limit", budget.at_limit
    if budget.on_denied != "raise":
        yield "a refused call", _denied(budget.on_denied)
    if budget.constraints:
        yield "each run", f"at most {', '.join(budget.constraints.values())}"
    if budget.on_outage == "open":
        yield "outage", "lets calls through while the store is away"


def route_lines(route: RouteExplained) -> Iterator[Line]:
    """Where a route sends which stage."""
    for stage in route.stages:
        falls_back = f"; falls back {stage.falls_back}" if stage.falls_back else ""
        yield stage.stage, stage.goes + falls_back


def _lines(console: Console, text: Text, width: int) -> Iterator[Text]:
    """The lines of a text, without the spaces at which it was broken."""
    for line in text.wrap(console, width, overflow="fold"):
        line.rstrip()
        yield line


def _window(budget: BudgetExplained) -> str:
    if budget.window_start is None or budget.window_end is None:
        return "never resets"
    return f"{budget.resets}; now {instant(budget.window_start)} to {instant(budget.window_end)}"


def _denied(on_denied: str) -> str:
    word, _, rest = on_denied.partition(" ")
    return f"waits for those in flight, at most {rest}" if word == "wait" else f"returns {rest}"
