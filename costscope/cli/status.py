"""`costscope status`: what every account has spent and holds, how much is left, and when it starts anew."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from costscope.cli.open_books import StoreOption, open_books
from costscope.observe.reports.account_rows import account_rows, untouched_budgets
from costscope.observe.reports.as_json import as_data, json_text
from costscope.policy.load.loader import load_policy

if TYPE_CHECKING:
    from costscope.policy import Policy
    from costscope.stores import Store


def status(
    store: StoreOption = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Show the limits of this policy, and its budgets not used yet."),
    ] = None,
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="With burn rates, forecasts and the last events, again and again until Ctrl-C."
        ),
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="With --watch: between two looks.")
    ] = 2.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show every account: what is spent, held and free, and when it resets."""
    if watch and json:
        msg = "--watch draws a screen and --json prints once; give one of them"
        raise typer.BadParameter(msg)
    rules = load_policy(policy) if policy is not None else None
    with closing(open_books(store)) as books:
        if json:
            typer.echo(_json(books, rules))
        elif watch:
            from costscope.cli.status_watch import watch as watch_books  # noqa: PLC0415 - as below

            watch_books(books, rules, interval)
        else:
            _show(books, rules)


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
            "unused_budgets": untouched_budgets(rows, rules),
        }
    )


def _show(books: Store, rules: Policy | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that --json does without

    from costscope.cli.status_screen import StatusScreen  # noqa: PLC0415

    Console().print(StatusScreen(books.url, books.snapshot(), rules))
