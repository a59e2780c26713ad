"""The screen of `costscope status`: all accounts, as they stand now."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from rich.text import Text

from costscope.cli.account_lines import account_blocks
from costscope.cli.amounts import counted
from costscope.cli.bars import legend
from costscope.reports import account_rows, untouched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType

    from costscope.ledger import Snapshot
    from costscope.policy import Policy

__all__ = ["StatusScreen", "title"]


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
        unused = untouched(rows, self._policy)
        if unused:
            yield Text(f"Not used yet: {', '.join(unused)}", style="bright_black")
        if rows:
            yield Text()
            silent = f" ({len(rows) - len(said):,} with nothing to show)" if len(said) < len(rows) else ""
            count = f"{counted(len(rows), 'account')}{silent}, {counted(len(self._snapshot.holds), 'live hold')}   "
            yield Text(count) + legend(ascii_only=options.ascii_only)


def title(url: str, now_ms: int) -> Text:
    """Which books, and when."""
    now = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
    return Text(f"{url}  {now:%Y-%m-%d %H:%M:%S} UTC", style="bold")
