"""`costscope status`: what every account has spent and holds, how much is left, and when it starts anew."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from costscope.cli.amounts import json_text
from costscope.cli.balances import as_data
from costscope.cli.books import StoreOption, open_books
from costscope.errors import StoreUnavailable
from costscope.policy import load_policy
from costscope.reports import account_rows, untouched

if TYPE_CHECKING:
    from costscope.policy import Policy
    from costscope.stores import Store

__all__ = ["status"]

_REFRESH_S: Final = 1.0


def status(
    store: StoreOption = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Show the limits of this policy, and its budgets nobody used yet."),
    ] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every second, until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show every account: what is spent, held and free, and when it resets."""
    if watch and json:
        msg = "--watch draws a screen and --json prints once; give one of them"
        raise typer.BadParameter(msg)
    rules = load_policy(policy) if policy is not None else None
    books = open_books(store)
    try:
        if json:
            typer.echo(_json(books, rules))
        elif watch:
            _watch(books, rules)
        else:
            _show(books, rules)
    finally:
        books.close()


def _json(books: Store, rules: Policy | None) -> str:
    snapshot = books.snapshot()
    rows = account_rows(snapshot, rules)
    return json_text(
        {
            "store": books.url,
            "now_ms": snapshot.now_ms,
            "currency": rules.currency if rules is not None else "USD",
            "live_holds": len(snapshot.holds),
            "accounts": [as_data(row) for row in rows],
            "unused_budgets": untouched(rows, rules),
        }
    )


def _show(books: Store, rules: Policy | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that --json does without

    from costscope.cli.status_screen import StatusScreen  # noqa: PLC0415

    Console().print(StatusScreen(books.url, books.snapshot(), rules))


def _watch(books: Store, rules: Policy | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.live import Live  # noqa: PLC0415

    from costscope.cli.status_screen import StatusScreen  # noqa: PLC0415

    console = Console()
    screen = StatusScreen(books.url, books.snapshot(), rules)
    # Without a terminal `Live` draws once, at the end; a pipe or a log gets every screen, one after the other.
    live = Live(screen, console=console, auto_refresh=False, screen=True) if console.is_terminal else None
    with contextlib.suppress(KeyboardInterrupt), live or contextlib.nullcontext():
        while True:
            if live is not None:
                live.update(screen, refresh=True)
            else:
                console.print(screen)
            time.sleep(_REFRESH_S)
            try:
                screen = StatusScreen(books.url, books.snapshot(), rules)
            except StoreUnavailable as error:  # it may come back while we watch
                screen = screen.stale(str(error))
    if live is not None:
        console.print(screen)
