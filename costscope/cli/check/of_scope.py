"""The screen about one scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from costscope.cli.amounts import counted
from costscope.cli.check.lines import Block, Wrapped, budget_lines, heading, route_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from costscope.cli.check.lines import Line
    from costscope.policy import Policy, ScopeExplained

__all__ = ["scope_screen"]


def scope_screen(words: ScopeExplained, rules: Policy) -> RenderableType:
    """What holds in a scope: budgets, limits of its runs, routes, and what does not concern it."""
    return Group(*_screen(words, rules))


def _screen(words: ScopeExplained, rules: Policy) -> Iterator[RenderableType]:
    named = ", ".join(f"{label}={value}" for label, value in words.labels.items())
    met = len(words.budgets)
    all_hold = "; all must hold" if met > 1 else ""
    title = f"{named} meets {met} of {counted(len(rules.budgets), 'budget')}{all_hold}"
    yield Wrapped(Text(title, style="bold"))
    for one in words.budgets:
        yield Text()
        yield heading(one.budget.id, one.budget.covers)
        lines = [*budget_lines(one.budget), *(("account", key) for key in one.accounts)]
        yield Block(line for line in lines if line[0] != "each run")
    yield from _part("each run may have at most", _constraints(words))
    yield from _part(
        "each run is told of above",
        [(one.limit, f"from {one.budget}, which is {one.enforcement}") for one in words.observed],
    )
    for route in words.routes:
        yield Text()
        yield heading(f"route {route.id}", route.models)
        yield Block(route_lines(route))
    yield from _part("runaway runs", [("watched for", words.runaway)] if words.runaway else [])
    yield from _part("not met", list(words.not_met.items()))


def _part(title: str, lines: list[Line]) -> Iterator[RenderableType]:
    if lines:
        yield Text()
        yield Text(title, style="bold")
        yield Block(lines)


def _constraints(words: ScopeExplained) -> list[Line]:
    lines = []
    for met in words.constraints.values():
        others = ", ".join(f"{budget} says {limit}" for budget, limit in met.instead_of.items())
        lines.append(
            (met.limit, f"from {met.budget}" + (f", the more specific one ({others})" if others else ""))
        )
    return lines
