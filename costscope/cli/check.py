"""`costscope check POLICY`: load a policy file and say in words what it does."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from costscope.cli.amounts import counted, instant, json_text
from costscope.errors import InvalidPolicy
from costscope.policy import explain, load_policy

if TYPE_CHECKING:
    from rich.table import Table

    from costscope.policy import BudgetExplained, Policy, PolicyExplained
    from costscope.prices import PriceRule

__all__ = ["check"]

_RATES = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "output_audio",
)


def check(
    policy: Annotated[
        str, typer.Argument(metavar="POLICY", help="A policy file, .yaml or .toml.", show_default=False)
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Load a policy file and explain it; exit with 2 where it cannot be one."""
    try:
        rules = load_policy(policy)
    except InvalidPolicy as error:
        # as compilers write it, FILE:LINE: ..., so that an editor can jump there
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from error
    words = explain(rules, time.time_ns() // 1_000_000)
    if json:
        typer.echo(json_text({"file": policy, "explained": words, "prices": rules.prices}))
    else:
        _show(policy, rules, words)


def _show(file: str, rules: Policy, words: PolicyExplained) -> None:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that --json does without
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    console.print(
        Text(f"{file}: {counted(len(words.budgets), 'budget')}, amounts in {words.currency}", style="bold")
    )
    if words.budgets:
        console.print(_budgets(words.budgets))
    if rules.prices.models or rules.prices.tools:
        console.print(_prices(rules))
    verdict = "refused" if words.unscoped == "deny" else "let through, counted in no scope"
    console.print(Text(f"A metered call outside every scope is {verdict} (unscoped: {words.unscoped})."))


def _budgets(budgets: tuple[BudgetExplained, ...]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    table = Table(show_lines=True, expand=False)
    for heading in ("Budget", "Limits", "Window"):
        table.add_column(heading, overflow="fold")
    for budget in budgets:
        # Text, not str: a file's [brackets] are no markup
        covers = Text(budget.id, style="bold")
        covers.append(f"\n{budget.covers}\n{budget.split}", style="not bold")
        if budget.on_outage == "open":
            covers.append("\nlets calls through while the store is away", style="not bold")
        table.add_row(covers, Text("\n".join(budget.limits.values())), Text(_window(budget)))
    return table


def _window(budget: BudgetExplained) -> str:
    if budget.window_start is None or budget.window_end is None:
        return "never resets"
    return f"{budget.resets}\nsince {instant(budget.window_start)}\nnext  {instant(budget.window_end)}"


def _prices(rules: Policy) -> Table:
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415

    table = Table()
    table.add_column("Price of", overflow="fold")
    table.add_column(f"in {rules.currency}", overflow="fold")
    for model, rule in rules.prices.models.items():
        table.add_row(Text(model), Text(_rule(rule)))
    for tool, amount in rules.prices.tools.items():
        table.add_row(Text(tool), Text(f"{amount} per call"))
    return table


def _rule(rule: PriceRule) -> str:
    rates = [
        f"{name.replace('_', ' ')} {value}" for name in _RATES if (value := getattr(rule, name)) is not None
    ]
    parts = [f"{', '.join(rates)} per million tokens"] if rates else []
    if rule.per_call is not None:
        parts.append(f"{rule.per_call} per call")
    if rule.batch is not None:
        parts.append(f"batch tier x {rule.batch}")
    if rule.max_output_tokens is not None:
        parts.append(f"at most {rule.max_output_tokens:,} output tokens")
    if rule.context_window is not None:
        parts.append(f"context window {rule.context_window:,}")
    return "; ".join(parts)
