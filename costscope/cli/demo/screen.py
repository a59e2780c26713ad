"""What a person sees of the demo: a live tree with bars, then a table and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from costscope.cli.demo.ledger import Entry
from costscope.cli.demo.table import accounts_table, runs_table, verdict
from costscope.cli.widgets import bar, legend, percent
from costscope.observe.reports.as_json import short_money

if TYPE_CHECKING:
    from types import TracebackType

    from costscope.cli.demo.progress import Progress
    from costscope.cli.demo.result import DemoResult
    from costscope.cli.demo.scenario import Path

__all__ = ["DemoScreen", "live_view"]

_NAME_WIDTH: Final = 16
_NUMBERS_WIDTH: Final = 36
_BAR_MIN: Final = 10
_BAR_MAX: Final = 48
_LIVE_DEPTH: Final = 2
_WIDE: Final = 100
_EVENTS: Final = 7
"""Of the last ones; with them the picture has 23 lines."""


class DemoScreen:
    """Shows a demo while the block runs: on a terminal as a picture that changes, elsewhere event by event.

    Args:
        quiet: show nothing at all.
        console: where to; by default standard output.
    """

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self._quiet = quiet
        self._console = console or Console()
        self._live: Live | None = None
        self._told = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def show(self, progress: Progress) -> None:
        """Draw the state of things."""
        if self._live is not None:
            self._live.update(live_view(progress, self._console), refresh=True)
        elif not self._quiet:
            for at_s, text in progress.events[self._told :]:
                self._console.print(f"{at_s:6.1f} s  {text}", highlight=False)
            self._told = len(progress.events)

    def finish(self, result: DemoResult, url: str | None) -> None:
        """Draw the end.

        Args:
            result: what came of it.
            url: where the books stay, or None if they are gone with the demo.
        """
        self._stop()
        if self._quiet:
            return
        console = self._console
        table = accounts_table(result, wide=console.width >= _WIDE, ascii_only=console.options.ascii_only)
        console.print(table, runs_table(result), verdict(result), sep="\n")
        if url is not None and not url.startswith("memory:"):
            self._console.print(
                f"The books stay: costscope status --store '{result.store}?{url.partition('?')[2]}'",
                soft_wrap=True,
                highlight=False,
            )

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def live_view(progress: Progress, console: Console) -> Group:
    """The tree of tenants and workflows with their bars, the counts, and the last events."""
    ascii_only = console.options.ascii_only
    width = min(max(console.width - _NAME_WIDTH - _NUMBERS_WIDTH, _BAR_MIN), _BAR_MAX)
    scenario = progress.scenario
    lines = [_headline(progress), Text()]
    lines += [
        _branch(path, progress.books.entries.get(path, Entry()), limit, width, ascii_only=ascii_only)
        for path, limit in scenario.limits.items()
        if len(path) <= _LIVE_DEPTH
    ]
    lines += [Text(), legend(ascii_only=ascii_only), _bills(progress), _runs(progress), _acted(progress)]
    lines += [_happened(at_s, text) for at_s, text in progress.events[-_EVENTS:]]
    for line in lines:
        line.no_wrap, line.overflow = True, "crop" if ascii_only else "ellipsis"  # … is no ASCII
    return Group(*lines)


def _headline(progress: Progress) -> Text:
    scenario, seconds = progress.scenario, progress.seconds
    pairs = len(progress.pairs_us)
    rate = pairs / seconds if seconds else 0.0
    text = Text(f"{progress.alive} of {scenario.processes} processes x {scenario.tasks} agents", style="bold")
    text.append(
        f"   {pairs:,} calls   {sum(progress.denials.values()):,} denials   {rate:,.0f} calls/s",
        style="not bold",
    )
    return text


def _branch(path: Path, entry: Entry, limit: int, width: int, *, ascii_only: bool) -> Text:
    indent = "  " * (len(path) - 1)
    text = Text(
        f"{indent}{path[-1]}".ljust(_NAME_WIDTH)[:_NAME_WIDTH], style="bold" if len(path) == 1 else ""
    )
    text.append_text(bar(entry.spent, entry.held, limit, width, ascii_only=ascii_only))
    used = entry.spent + entry.held
    numbers = f" {percent(used, limit):3d}%  {short_money(used):>9} of {short_money(limit):>9} USD"
    text.append(numbers, style="not bold")
    return text


def _happened(at_s: float, text: str) -> Text:
    return Text(f"{at_s:6.1f} s  ", style="bright_black").append(text, style="default")


def _bills(progress: Progress) -> Text:
    tenants = [entry for path, entry in progress.books.entries.items() if len(path) == 1]
    spent, held = sum(entry.spent for entry in tenants), sum(entry.held for entry in tenants)
    billed = sum(amount for path, amount in progress.billed.items() if len(path) == 1)
    return Text(
        f"ledger: {short_money(spent)} spent + {short_money(held)} held   provider's own bill: {short_money(billed)} USD"
    )


def _runs(progress: Progress) -> Text:
    heard, going_on = progress.heard, sum(runs.taken for runs in progress.books.runs.values())
    ended = heard.statuses()
    told = [f"{ended[status]:,} {status}" for status in ("completed", "failed", "halted", "abandoned")]
    return Text(f"runs: {', '.join([f'{going_on:,} now', *told, f'{heard.refusals():,} refused'])}")


def _acted(progress: Progress) -> Text:
    heard = progress.heard
    return Text(
        f"thresholds crossed: {len(heard.crossed)}   downgraded calls: {heard.downgraded:,}   "
        f"runaways: {len(heard.runaways)}"
    )
