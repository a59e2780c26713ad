"""The screen of `costscope status`: for each account a heading, and for each of its meters a bar."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from rich.text import Text

from costscope.cli.amounts import counted, instant, short_amount
from costscope.cli.bars import bar, legend, percent
from costscope.reports import account_rows, untouched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from costscope.ledger import Snapshot
    from costscope.policy import Policy
    from costscope.reports import AccountRow, MeterRow

__all__ = ["StatusScreen"]

_BAR_MIN: Final = 10
_BAR_MAX: Final = 32
_GAP: Final = "  "


class StatusScreen:
    """All accounts of a snapshot, for `rich` to print."""

    def __init__(self, url: str, snapshot: Snapshot, policy: Policy | None, *, problem: str = "") -> None:
        self._url = url
        self._snapshot = snapshot
        self._policy = policy
        self._problem = problem

    def stale(self, problem: str) -> StatusScreen:
        """The same numbers, and why there are no newer ones."""
        return StatusScreen(self._url, self._snapshot, self._policy, problem=problem)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        rows = account_rows(self._snapshot, self._policy)
        now = dt.datetime.fromtimestamp(self._snapshot.now_ms / 1000, dt.UTC)
        yield Text(f"{self._url}  {now:%Y-%m-%d %H:%M:%S} UTC", style="bold")
        if self._problem:
            yield Text(f"not refreshed: {self._problem}", style="red")
        if rows:
            yield from _accounts(
                rows, options.max_width, currency=self._currency(), ascii_only=options.ascii_only
            )
        else:
            yield Text("This ledger is empty: nothing has been reserved in it yet.")
        unused = untouched(rows, self._policy)
        if unused:
            yield Text(f"Not used yet: {', '.join(unused)}", style="bright_black")
        if rows:
            yield Text()
            count = f"{counted(len(rows), 'account')}, {counted(len(self._snapshot.holds), 'live hold')}   "
            yield Text(count) + legend(ascii_only=options.ascii_only)

    def _currency(self) -> str:
        return self._policy.currency if self._policy is not None else "USD"


def _accounts(rows: list[AccountRow], width: int, *, currency: str, ascii_only: bool) -> Iterator[Text]:
    lines = {id(line): _cells(line, currency) for row in rows for line in row.meters}
    widths = [max((len(cells[at]) for cells in lines.values()), default=0) for at in range(5)]
    room = min(max(width - sum(widths) - 5 * len(_GAP), _BAR_MIN), _BAR_MAX)
    for row in rows:
        yield Text()
        yield _heading(row, width)
        for line in row.meters:
            name, *numbers, limit = lines[id(line)]
            text = Text(name.ljust(widths[0]) + _GAP, no_wrap=True, overflow="ellipsis")
            text.append_text(_bar(line, room, ascii_only=ascii_only))
            for number, size in zip(numbers, widths[1:], strict=False):
                text.append(_GAP + number.rjust(size))
            yield text.append(_GAP + limit)


def _heading(row: AccountRow, width: int) -> Text:
    reset = f"resets {instant(row.window_end)}" if row.window_end else "never resets"
    text = Text(overflow="fold")
    text.append(row.name, style="bold")
    gap = width - len(row.name) - len(reset)
    text.append(" " * gap if gap >= 2 else "\n  ")  # noqa: PLR2004 - columns apart
    text.append(reset, style="bright_black")
    return text


def _cells(line: MeterRow, currency: str) -> tuple[str, str, str, str, str]:
    """Name, percent, spent, held and limit of a meter."""
    counters, limit = line.counters, line.limit
    used = counters.spent + counters.held
    share = "" if limit is None else f"{percent(used, limit)}%"
    held = f"+ {short_amount(line.meter, counters.held)}" if counters.held else ""
    of = "no limit" if limit is None else f"of {short_amount(line.meter, limit)}"
    name = f"cost ({currency})" if line.meter == "cost" else line.meter.replace("_", " ")
    return name, share, short_amount(line.meter, counters.spent), held, of


def _bar(line: MeterRow, width: int, *, ascii_only: bool) -> Text:
    if line.limit is None:
        return Text(" " * width)
    return bar(line.counters.spent, line.counters.held, line.limit, width, ascii_only=ascii_only)
