"""Budgets and routes as lines of a word and what is said about it, which wrap within any width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from costscope.cli.amounts import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from costscope.policy import BudgetExplained
    from costscope.policy.explained import RouteExplained

__all__ = ["Line", "block", "budget_lines", "heading", "route_lines"]

Line = tuple[str, str]
"""What is spoken of, and what is said about it."""


def heading(name: str, more: str) -> Text:
    """The name in bold; what follows is not."""
    # Text, not str: a file's [brackets] are no markup
    return Text(name, style="bold").append(f"  {more}", style="not bold")


def block(lines: Iterable[Line]) -> RenderableType:
    """The lines below a heading, in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bright_black", no_wrap=True)
    table.add_column(overflow="fold")
    for word, said in lines:
        table.add_row(Text(word), Text(said))
    return Padding(table, (0, 0, 0, 2), expand=False)


def budget_lines(budget: BudgetExplained) -> Iterator[Line]:
    """What a budget does."""
    if budget.limits:
        yield "limits", ", ".join(budget.limits.values())
    yield "window", _window(budget)
    for threshold in budget.thresholds:
        of = f" of {threshold.meter}" if threshold.meter is not None and len(budget.limits) > 1 else ""
        yield f"at {threshold.at:g} %{of}", ", ".join(threshold.actions)
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


def _window(budget: BudgetExplained) -> str:
    if budget.window_start is None or budget.window_end is None:
        return "never resets"
    return f"{budget.resets}; now {instant(budget.window_start)} to {instant(budget.window_end)}"


def _denied(on_denied: str) -> str:
    word, _, rest = on_denied.partition(" ")
    return f"waits for those in flight, at most {rest}" if word == "wait" else f"returns {rest}"
