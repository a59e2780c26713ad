"""`costscope status --watch`: what is being spent, how long it will last, and what happened last."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from costscope.cli.events_command import short_line
from costscope.cli.status_screen import account_blocks, title
from costscope.cli.widgets import legend, outlook
from costscope.errors import StoreUnavailable
from costscope.observe.events.reader import EventReader
from costscope.observe.events.records import CallSettled
from costscope.observe.reports.account_rows import account_rows, untouched_budgets
from costscope.observe.reports.as_json import format_count
from costscope.observe.reports.forecast import BurnRates, forecast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

    from costscope.ledger import Snapshot
    from costscope.observe.events.records import Event
    from costscope.observe.reports.account_rows import AccountRow, MeterRow
    from costscope.policy import Policy
    from costscope.stores import Store


_EVENTS: Final = 8
_LOOK: Final = 1000


def watch(books: Store, policy: Policy | None, interval_s: float) -> None:
    """Draw a screen, and again every `interval_s` seconds until Ctrl-C."""
    console = Console()
    rates, stream = BurnRates(), EventReader()
    last: deque[Event] = deque(maxlen=_EVENTS)

    def look() -> WatchScreen:
        snapshot = books.snapshot()
        rates.observe(snapshot.now_ms, account_rows(snapshot, policy))
        # a call that ended is no news; there may be many of them between two that are
        last.extend(event for event in stream.read(books, _LOOK) if not isinstance(event, CallSettled))
        return WatchScreen(books.url, snapshot, policy, rates, list(last))

    screen = look()
    # Without a terminal `Live` draws once, at the end; a pipe or a log gets every screen, one after the other.
    live = Live(screen, console=console, auto_refresh=False, screen=True) if console.is_terminal else None
    with contextlib.suppress(KeyboardInterrupt), live or contextlib.nullcontext():
        while True:
            if live is not None:
                live.update(screen, refresh=True)
            else:
                console.print(screen)
            time.sleep(interval_s)
            try:
                screen = look()
            except StoreUnavailable as error:  # it may come back while we watch
                screen = screen.stale(str(error))
    if live is not None:
        console.print(screen)


class WatchScreen:
    """The accounts that are in use, and the last events, for `rich` to print.

    On a terminal the accounts that are closest to their limits are shown as far as there is room.
    """

    def __init__(
        self,
        url: str,
        snapshot: Snapshot,
        policy: Policy | None,
        rates: BurnRates,
        events: list[Event],
        *,
        problem: str = "",
    ) -> None:
        self._url = url
        self._snapshot = snapshot
        self._policy = policy
        self._rates = rates
        self._events = events
        self._problem = problem

    def stale(self, problem: str) -> WatchScreen:
        """Keep the same numbers, and say why there are no newer ones."""
        return WatchScreen(
            self._url, self._snapshot, self._policy, self._rates, self._events, problem=problem
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        rows = account_rows(self._snapshot, self._policy)
        current = [row for row in rows if self._in_use(row)]
        top = [title(self._url, self._snapshot.now_ms)]
        if self._problem:
            top.append(Text(f"not refreshed: {self._problem}", style="red"))
        end = self._end(rows, len(rows) - len(current), ascii_only=options.ascii_only)
        blocks = list(
            account_blocks(
                current,
                options.max_width,
                currency=self._currency,
                ascii_only=options.ascii_only,
                note=self._note,
            )
        )
        height = options.height
        if (
            height is None and console.is_alt_screen
        ):  # which is cut off below: rich tells the height to nothing inside
            height = console.height
        room = math.inf if height is None else height - _height(console, options, top + end)
        yield from top
        yield from self._fit_blocks(console, options, current, blocks, room)
        yield from end

    @property
    def _currency(self) -> str:
        return self._policy.currency if self._policy is not None else "USD"

    def _in_use(self, row: AccountRow) -> bool:
        """Tell whether its window is not over, nor the run or scope it belongs to."""
        if row.end_ms and row.end_ms <= self._snapshot.now_ms:
            return False
        return not row.passing or any(line.counters.held or self._rate(row, line) for line in row.meters)

    def _rate(self, row: AccountRow, line: MeterRow) -> float | None:
        return self._rates.per_second(row.key, line.meter)

    def _note(self, row: AccountRow, line: MeterRow) -> Text:
        rate = self._rate(row, line)
        return outlook(line, rate, forecast(row, line, self._snapshot.now_ms, rate))

    def _urgency(self, row: AccountRow) -> tuple[bool, float, float]:
        """Rank an account; the smaller, the more it deserves a place: what refuses, then exhausted soonest, then fullest."""
        found = [forecast(row, line, self._snapshot.now_ms, self._rate(row, line)) for line in row.meters]
        known = [each for each in found if each is not None]
        ends = min((each.exhausted_s or 0.0 for each in known if not each.lasts), default=math.inf)
        full = max((each.utilisation for each in known), default=0.0)
        return row.enforcement != "hard", ends, -full

    def _fit_blocks(
        self,
        console: Console,
        options: ConsoleOptions,
        rows: list[AccountRow],
        blocks: list[list[Text]],
        room: float,
    ) -> Iterable[Text]:
        sizes = [1 + _height(console, options, block) for block in blocks]
        chosen: set[int] = set()
        room -= 0 if sum(sizes) <= room else 2  # for the line that says how many there are besides
        for at in sorted(range(len(rows)), key=lambda at: self._urgency(rows[at])):
            if sizes[at] <= room:
                room -= sizes[at]
                chosen.add(at)
        for at, block in enumerate(blocks):
            if at in chosen:
                yield Text()
                yield from block
        if len(chosen) < len(blocks):
            yield Text()
            yield Text(
                f"and {format_count(len(blocks) - len(chosen), 'account')} further from their limits",
                style="bright_black",
            )

    def _end(self, rows: list[AccountRow], over: int, *, ascii_only: bool) -> list[Text]:
        lines = []
        if not rows:
            lines.append(Text("This ledger is empty: nothing has been reserved in it yet."))
        if unused := untouched_budgets(rows, self._policy):
            lines.append(Text(f"Not used yet: {', '.join(unused)}", style="bright_black"))
        if self._events:
            lines += [Text(), Text("last events", style="bold")]
            now = dt.datetime.fromtimestamp(self._snapshot.now_ms / 1000, dt.UTC)
            lines += [short_line(event, now) for event in self._events]
        if rows:
            ended = f" ({over:,} over or idle)" if over else ""
            count = f"{format_count(len(rows), 'account')}{ended}, {format_count(len(self._snapshot.holds), 'live hold')}   "
            lines += [Text(), Text(count) + legend(ascii_only=ascii_only)]
        return lines


def _height(console: Console, options: ConsoleOptions, lines: list[Text]) -> int:
    return sum(len(console.render_lines(line, options.update(height=None))) for line in lines)
