"""The screen of `costscope status`: all accounts, as they stand now."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from rich.text import Text

from costscope.cli.widgets import bar, legend, percent
from costscope.ledger.meters import MONEY
from costscope.observe.reports.account_rows import account_rows, untouched_budgets
from costscope.observe.reports.as_json import format_count, format_instant, short_amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from costscope.ledger import Snapshot
    from costscope.observe.reports.account_rows import AccountRow, MeterRow
    from costscope.policy import Policy


_BAR_MIN: Final = 10
_BAR_MAX: Final = 32
_GAP: Final = "  "


def account_blocks(
    rows: list[AccountRow],
    width: int,
    *,
    currency: str,
    ascii_only: bool,
    note: Callable[[AccountRow, MeterRow], Text] | None = None,
) -> Iterator[list[Text]]:
    """Draw the lines of each account, in columns that are the same for all.

    Args:
        rows: the accounts.
        width: of the screen, in characters.
        currency: names the unit of `cost`.
        ascii_only: draw without Unicode.
        note: says something more of a meter, on a line below it unless it is empty.
    """
    cells = {id(line): _cells(line, currency) for row in rows for line in row.meters}
    widths = [max((len(found[at]) for found in cells.values()), default=0) for at in range(5)]
    room = min(max(width - sum(widths) - 5 * len(_GAP), _BAR_MIN), _BAR_MAX)
    for row in rows:
        block = [_draw_heading(row, width)]
        for line in row.meters:
            name, *numbers, limit = cells[id(line)]
            text = Text(name.ljust(widths[0]) + _GAP, no_wrap=True, overflow="ellipsis")
            text.append_text(_bar(line, room, ascii_only=ascii_only))
            for number, size in zip(numbers, widths[1:], strict=False):
                text.append(_GAP + number.rjust(size))
            block.append(text.append(_GAP + limit))
            if note is not None and (more := note(row, line)):
                indent = max(min(widths[0] + len(_GAP), width - len(more)), len(_GAP))
                block.append(Text(" " * indent, no_wrap=True, overflow="ellipsis").append_text(more))
        yield block


def _draw_heading(row: AccountRow, width: int) -> Text:
    if row.window_end:
        reset = f"resets {format_instant(row.window_end)}"
    else:
        reset = "never resets" if any(line.spends for line in row.meters) else "slots"
    text = Text(overflow="fold")
    text.append(row.name, style="bold")
    if row.enforcement != "hard":
        text.append(
            f"  {row.enforcement}", style="yellow"
        )  # it may be above its limit, and nothing is refused
    if row.halted:
        text.append("  halted", style="bold red")
    gap = width - len(text) - len(reset)
    text.append(" " * gap if gap >= 2 else "\n  ")  # noqa: PLR2004 - columns apart
    text.append(reset, style="bright_black")
    return text


def _cells(line: MeterRow, currency: str) -> tuple[str, str, str, str, str]:
    """Write the name, percent, spent, held and limit of a meter."""
    counters, limit = line.counters, line.limit
    used = counters.spent + counters.held
    share = "" if limit is None else f"{percent(used, limit)}%"
    spent, held = short_amount(line.meter, counters.spent), short_amount(line.meter, counters.held)
    of = "no limit" if limit is None else f"of {short_amount(line.meter, limit)}"
    name = line.meter.replace("_", " ") + (f" ({currency})" if line.meter in MONEY else "")
    if not line.spends:
        return name, share, "", held, of
    return name, share, spent, f"+ {held}" if counters.held else "", of


def _bar(line: MeterRow, width: int, *, ascii_only: bool) -> Text:
    if line.limit is None:
        return Text(" " * width)
    return bar(line.counters.spent, line.counters.held, line.limit, width, ascii_only=ascii_only)


class StatusScreen:
    """All accounts of a snapshot, for `rich` to print."""

    def __init__(self, url: str, snapshot: Snapshot, policy: Policy | None) -> None:
        self._url = url
        self._snapshot = snapshot
        self._policy = policy

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        rows = account_rows(self._snapshot, self._policy)
        yield title(self._url, self._snapshot.now_ms)
        if not rows:
            yield Text("This ledger is empty: nothing has been reserved in it yet.")
        currency = self._policy.currency if self._policy is not None else "USD"
        said = [
            row for row in rows if row.meters or row.halted
        ]  # a run without limits has an account all the same
        for block in account_blocks(
            said, options.max_width, currency=currency, ascii_only=options.ascii_only
        ):
            yield Text()
            yield from block
        unused = untouched_budgets(rows, self._policy)
        if unused:
            yield Text(f"Not used yet: {', '.join(unused)}", style="bright_black")
        if rows:
            yield Text()
            silent = f" ({len(rows) - len(said):,} with nothing to show)" if len(said) < len(rows) else ""
            count = f"{format_count(len(rows), 'account')}{silent}, {format_count(len(self._snapshot.holds), 'live hold')}   "
            yield Text(count) + legend(ascii_only=options.ascii_only)


def title(url: str, now_ms: int) -> Text:
    """Say which books, and when."""
    now = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
    return Text(f"{url}  {now:%Y-%m-%d %H:%M:%S} UTC", style="bold")
