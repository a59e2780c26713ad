"""What a person sees of the demo: a live tree with bars, then tables, the two bills, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from costscope.cli.demo.progress import STATUSES, Entry
from costscope.cli.widgets import bar, legend, percent
from costscope.observe.reports.as_json import short_money
from costscope.pricing.money import currency

if TYPE_CHECKING:
    from costscope.cli.demo.progress import Progress
    from costscope.cli.demo.verdict import Verdict

_SHOWN_DEPTH: Final = 2  # tenants and workflows; dozens of agents would push the rest off the screen
_WIDE: Final = 100  # from so many columns on the last table has bars
_EVENTS: Final = 7  # of the last ones; with them the picture has 23 lines
_NAME_WIDTH: Final = 16
_NUMBERS_WIDTH: Final = 36
_BAR_MIN: Final = 10
_BAR_MAX: Final = 48
_LAST_BAR_WIDTH: Final = 14
_SUM_WIDTH: Final = 18


class DemoScreen:
    """Shows a demo while the block runs: on a terminal as a picture that changes, elsewhere event by event.

    A console that is quiet shows nothing at all.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._told = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.quiet:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw the state of things."""
        if self._live.is_started:
            self._live.update(live_view(progress, self._console), refresh=True)
        else:
            for at_s, text in progress.events[self._told :]:
                self._console.print(f"{at_s:6.1f} s  {text}", highlight=False)
            self._told = len(progress.events)

    def finish(self, verdict: Verdict, url: str | None) -> None:
        """Draw the end, below the block, and say where the books stay: at `url`, if it is not None."""
        self._console.print(*final_view(verdict, self._console), sep="\n")
        if url is not None and not url.startswith("memory:"):
            kept = f"'{verdict.store_url}?{url.partition('?')[2]}'"
            self._console.print(
                f"The books stay: costscope status --store {kept}", soft_wrap=True, highlight=False
            )


def live_view(progress: Progress, console: Console) -> Group:
    """Draw the tree of tenants and workflows with their bars, the counts, and the last events."""
    ascii_only = console.options.ascii_only
    width = min(max(console.width - _NAME_WIDTH - _NUMBERS_WIDTH, _BAR_MIN), _BAR_MAX)
    scenario, denials = progress.scenario, progress.denials.total()
    head = Text(f"{progress.alive} of {scenario.processes} processes x {scenario.tasks} agents", style="bold")
    counts = f"   {len(progress.pairs_us):,} calls   {denials:,} denials   {progress.rate_per_s:,.0f} calls/s"
    lines = [head.append(counts, style="not bold"), Text()]
    for path, limit in scenario.limits.items():
        if len(path) <= _SHOWN_DEPTH:
            entry = progress.entries.get(path, Entry())
            used = entry.spent + entry.held
            name = f"{'  ' * (len(path) - 1)}{path[-1]}".ljust(_NAME_WIDTH)[:_NAME_WIDTH]
            numbers = f" {percent(used, limit):3d}%  {short_money(used):>9} of {short_money(limit):>9} USD"
            line = Text(name, style="bold" if len(path) == 1 else "")
            line.append_text(bar(entry.spent, entry.held, limit, width, ascii_only=ascii_only))
            lines.append(line.append(numbers, style="not bold"))
    lines += [Text(), legend(ascii_only=ascii_only), *map(Text, _counts(progress))]
    for at_s, text in progress.events[-_EVENTS:]:
        lines.append(Text(f"{at_s:6.1f} s  ", style="bright_black").append(text, style="default"))
    for line in lines:
        line.no_wrap, line.overflow = True, "crop" if ascii_only else "ellipsis"  # … is no ASCII
    return Group(*lines)


def _counts(progress: Progress) -> tuple[str, str, str]:
    total, runs = progress.total(), progress.runs()
    spent, held, billed = map(short_money, (total.spent, total.held, progress.provider.total))
    now = sum(places.taken for places in progress.places.values())
    ended = ", ".join(f"{runs[what]:,} {what}" for what in (*STATUSES, "refused"))
    acted = f"downgraded calls: {progress.downgraded:,}   runaways: {len(progress.runaways)}"
    return (
        f"ledger: {spent} spent + {held} held   provider's own bill: {billed} USD",
        f"runs: {now:,} now, {ended}",
        f"thresholds crossed: {len(progress.crossed)}   {acted}",
    )


def final_view(verdict: Verdict, console: Console) -> tuple[Table, Table, Text]:
    """Draw the accounts, the runs, and the sums with the verdict."""
    return _accounts_table(verdict.progress, console), _runs_table(verdict.progress), _sums(verdict)


def _new_table(*headings: str, left: int, padding: tuple[int, int, int, int] = (0, 1, 0, 1)) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=padding)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < left else "right", no_wrap=True)
    return table


def _accounts_table(progress: Progress, console: Console) -> Table:
    """Draw the accounts. The agents' own are summed up in `_sums`; `--json` has every one of them."""
    wide, ascii_only = console.width >= _WIDE, console.options.ascii_only
    numbers = ("Limit", "Spent", "Held", "Presumed", "Provider's bill")
    table = _new_table("USD per account", *["Used"] * wide, *numbers, left=1 + wide)
    for path, entry in progress.entries.items():
        if len(path) <= _SHOWN_DEPTH:
            if len(path) == 1 and table.row_count:
                table.add_row()
            limit, billed = progress.scenario.limits.get(path, 0), progress.provider.billed[path]
            used = bar(entry.spent, entry.held, limit, _LAST_BAR_WIDTH, ascii_only=ascii_only)
            used.append(f" {percent(entry.spent, limit):3d}%")
            amounts = map(_short, (limit, entry.spent, entry.held, entry.presumed, billed))
            name, style = Text("  " * (len(path) - 1) + path[-1]), "bold" if len(path) == 1 else ""
            table.add_row(name, *[used] * wide, *amounts, style=style)
    return table


def _runs_table(progress: Progress) -> Table:
    headings = ("Runs", "At once", "Admitted", *(what.capitalize() for what in STATUSES), "Refused")
    table = _new_table(*headings, left=1, padding=(0, 1, 0, 0))  # narrow: 80 columns are to do
    for tenant, places in sorted(progress.places.items()):
        admitted, *others = progress.runs(tenant).values()
        at_once = f"{progress.most_taken[tenant]} of {places.places}"
        table.add_row(tenant, at_once, f"{admitted} of {places.limit}", *(f"{count:,}" for count in others))
    table.add_row("all", "", *(f"{count:,}" for count in progress.runs().values()), style="bold")
    return table


def _sums(verdict: Verdict) -> Text:
    """Write the sums one a line, and at the end what it was all about."""
    progress = verdict.progress
    scenario, provider, total = progress.scenario, progress.provider, progress.total()
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(progress.denials.items()))
    p50, p99 = progress.percentile_us(50), progress.percentile_us(99)
    runaways = ["{run} {status} after {calls} calls ({reason})".format(**each) for each in verdict.runaways]
    killed = f"; {progress.killed} killed with {provider.unanswered} billed calls in flight"
    sums = {
        "budget": f"{_short(scenario.budget_nano)} USD for all tenants together",
        "provider's bill": f"{_short(provider.total)} USD for {provider.calls:,} calls",
        "ledger": f"{_short(total.spent)} USD, {_short(total.presumed)} of it presumed",
        "denials": f"{progress.denials.total():,}{f' ({kinds})' if kinds else ''}",
        "thresholds": _thresholds(progress),
        "downgrades": f"{progress.downgraded:,} calls to a cheaper model, {_short(provider.saved)} USD saved",
        "runaways": f"\n{' ' * _SUM_WIDTH}".join(runaways) or "none",
        "processes": f"{scenario.processes} x {scenario.tasks} agents{killed if progress.killed else ''}",
        "agents' accounts": _agents(progress),
        "reserve+commit": f"p50 {p50:,} us, p99 {p99:,} us, {progress.rate_per_s:,.0f}/s over {progress.seconds:.1f} s",
        "audit": "",
    }
    text = Text()
    for name, value in sums.items():
        text.append(f"{name:<{_SUM_WIDTH}}", style="bright_black").append(f"{value}\n" if value else "")
    text.append("\n".join(verdict.differences or ["exact"]), style="red" if verdict.differences else "green")
    over = verdict.over_budget_nano
    style = "bold red" if over else "bold green"
    text.append(f"\nover budget: {_exact(over) if over else '0.00'}", style=style)
    for broken in verdict.broken_promises:
        text.append(f"\nbroken promise: {broken}", style="bold red")
    if verdict.unaccounted_nano:
        text.append(f"\nbilled, but not in the ledger: {_exact(verdict.unaccounted_nano)}", style="bold red")
    return text


def _thresholds(progress: Progress) -> str:
    if not progress.crossed:
        return "none was reached"
    where: dict[str, str] = {}
    for budget, _, at in sorted(progress.crossed):
        tenant = budget.removesuffix("-day")
        where[tenant] = f"{where.get(tenant, tenant)} {at:g}"
    most = {*progress.crossed.values(), *progress.called_back.values(), 1}
    each = "each once" if most == {1} else "NOT EACH ONCE"
    return f"{len(progress.crossed)}, {each}: {', '.join(where.values())} %"


def _agents(progress: Progress) -> str:
    limits, billed, entries = progress.scenario.limits, progress.provider.billed, progress.entries
    agents = progress.scenario.agents
    fullest = max(entries[path].spent * 100 // limits[path] if limits[path] else 0 for path in agents)
    above = sum(billed[path] > limits[path] for path in agents)
    return f"{len(agents):,}, the fullest at {fullest}% of its limit, {above} billed above it"


def _short(nano: int) -> str:
    return short_money(nano) if nano else "0"


def _exact(nano: int) -> str:
    return f"{currency(nano).normalize():f}"
