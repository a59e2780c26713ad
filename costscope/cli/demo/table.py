"""The last screen of the demo: every account, the two bills, the speed, and the verdict."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from costscope.cli.widgets import bar, percent
from costscope.observe.reports.as_json import short_money
from costscope.pricing.money import NANO

if TYPE_CHECKING:
    from costscope.cli.demo.result import AccountResult, DemoResult, RunsResult

__all__ = ["accounts_table", "runs_table", "verdict"]

_SHOWN_DEPTH: Final = 2
"""Tenants and workflows; dozens of agents would push the rest off the screen."""
_BAR_WIDTH: Final = 14
_NAME_WIDTH: Final = 18


def accounts_table(result: DemoResult, *, wide: bool = False, ascii_only: bool = False) -> Table:
    """Per account: limit, spent, held, presumed, and the provider's bill.

    The agents' own accounts are summed up in `verdict`; `--json` has every one of them.

    Args:
        result: what to show.
        wide: there is room for bars, 100 columns or more.
        ascii_only: the terminal knows no blocks to draw them with.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("USD per account", no_wrap=True)
    if wide:
        table.add_column("Used", no_wrap=True)
    for heading in ("Limit", "Spent", "Held", "Presumed", "Provider's bill"):
        table.add_column(heading, justify="right", no_wrap=True)
    for account in result.accounts:
        if len(account.labels) <= _SHOWN_DEPTH:
            if len(account.labels) == 1 and table.row_count:
                table.add_row()
            drawn = [_bar(account, ascii_only=ascii_only)] if wide else []
            _add(table, account, drawn)
    return table


def runs_table(result: DemoResult) -> Table:
    """Per tenant: places, and how many runs were admitted, ended how, and were refused."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))  # narrow: 80 columns are to do
    table.add_column("Runs", no_wrap=True)
    for heading in ("At once", "Admitted", "Completed", "Failed", "Halted", "Abandoned", "Refused"):
        table.add_column(heading, justify="right", no_wrap=True)
    for tenant in result.tenants:
        table.add_row(
            tenant.tenant,
            f"{tenant.most_at_once} of {tenant.places}",
            f"{tenant.runs.admitted} of {tenant.limit}",
            *_counts(tenant.runs),
        )
    table.add_row("all", "", f"{result.runs.admitted:,}", *_counts(result.runs), style="bold")
    return table


def verdict(result: DemoResult) -> Text:
    """The sums, one a line, and at the end what it was all about."""
    text = Text()
    for name, value in _sums(result):
        text.append(f"{name:<{_NAME_WIDTH}}", style="bright_black")
        text.append(f"{value}\n")
    text.append(f"{'audit':<{_NAME_WIDTH}}", style="bright_black")
    if isinstance(result.audit, str):
        text.append(f"{result.audit}\n", style="green")
    else:
        text.append("".join(f"{difference}\n" for difference in result.audit), style="red")
    over = f"{result.over_budget_usd.normalize():f}" if result.over_budget_usd else "0.00"
    text.append(f"over budget: {over}", style="bold red" if result.over_budget_usd else "bold green")
    for broken in result.broken_promises:
        text.append(f"\nbroken promise: {broken}", style="bold red")
    if result.unaccounted_usd:
        text.append(
            f"\nbilled, but not in the ledger: {result.unaccounted_usd.normalize():f}", style="bold red"
        )
    return text


def _sums(result: DemoResult) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in result.denials_by_kind.items())
    killed = ""
    if result.killed_processes:
        killed = f"; {result.killed_processes} killed with {result.unanswered_calls} billed calls in flight"
    return [
        ("budget", f"{_short(result.limit_usd)} USD for all tenants together"),
        ("provider's bill", f"{_short(result.provider_billed_usd)} USD for {result.calls:,} calls"),
        ("ledger", f"{_short(result.ledger_spent_usd)} USD, {_short(result.presumed_usd)} of it presumed"),
        ("denials", f"{result.denials:,}{f' ({kinds})' if kinds else ''}"),
        ("thresholds", _thresholds(result)),
        (
            "downgrades",
            f"{result.downgrades:,} calls to a cheaper model, {_short(result.saved_usd)} USD saved",
        ),
        ("runaways", _runaways(result)),
        ("processes", f"{result.processes} x {result.tasks} agents{killed}"),
        ("agents' accounts", _agents(result)),
        (
            "reserve+commit",
            f"p50 {result.p50_us:,} us, p99 {result.p99_us:,} us, {result.rate_per_s:,.0f}/s over {result.seconds:.1f} s",
        ),
    ]


def _agents(result: DemoResult) -> str:
    agents = [account for account in result.accounts if len(account.labels) > _SHOWN_DEPTH]
    fullest = max(
        (account.spent_usd / account.limit_usd for account in agents if account.limit_usd), default=Decimal(0)
    )
    above = sum(account.billed_usd > account.limit_usd for account in agents)
    return f"{len(agents):,}, the fullest at {int(fullest * 100)}% of its limit, {above} billed above it"


def _counts(runs: RunsResult) -> list[str]:
    return [
        f"{count:,}" for count in (runs.completed, runs.failed, runs.halted, runs.abandoned, runs.refused)
    ]


def _thresholds(result: DemoResult) -> str:
    percents: dict[str, list[str]] = {}
    for crossed in result.thresholds:
        percents.setdefault(crossed.budget.removesuffix("-day"), []).append(f"{crossed.percent:g}")
    where = ", ".join(f"{tenant} {' '.join(given)}" for tenant, given in percents.items())
    once = all(crossed.times == 1 and crossed.callbacks <= 1 for crossed in result.thresholds)
    each = "each once" if once else "NOT EACH ONCE"
    return f"{result.thresholds_crossed}, {each}: {where} %" if where else "none was reached"


def _runaways(result: DemoResult) -> str:
    each = [
        f"{runaway.run} {runaway.status} after {runaway.calls} calls ({runaway.reason})"
        for runaway in result.runaways
    ]
    return f"\n{' ' * _NAME_WIDTH}".join(each) or "none"


def _add(table: Table, account: AccountResult, drawn: list[Text]) -> None:
    numbers = (
        account.limit_usd,
        account.spent_usd,
        account.held_usd,
        account.presumed_usd,
        account.billed_usd,
    )
    depth = len(account.labels)
    *_, name = account.labels.values()
    style = "bold" if depth == 1 else ""
    table.add_row(
        Text("  " * (depth - 1) + name), *drawn, *[_short(number) for number in numbers], style=style
    )


def _bar(account: AccountResult, *, ascii_only: bool) -> Text:
    limit, spent, held = (int(usd * NANO) for usd in (account.limit_usd, account.spent_usd, account.held_usd))
    drawn = bar(spent, held, limit, _BAR_WIDTH, ascii_only=ascii_only)
    return drawn.append(f" {percent(spent, limit):3d}%")


def _short(usd: Decimal) -> str:
    return short_money(int(usd * NANO)) if usd else "0"
