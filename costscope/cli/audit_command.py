"""`costscope audit`: prove the conservation equations over a store's books."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from costscope.cli.open_books import StoreOption, open_books
from costscope.observe.reports.as_json import format_count, json_text

if TYPE_CHECKING:
    from costscope.ledger import AuditReport


def audit(
    store: StoreOption = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Check that every unit ever reserved is accounted for exactly once.

    Exits with 0 when the books are exact, 1 when something differs, 2 when the store cannot be read.
    """
    with closing(open_books(store)) as books:
        report = books.audit()
    typer.echo(_json(books.url, report) if json else _words(books.url, report))
    if not report.exact:
        raise typer.Exit(1)


def _words(url: str, report: AuditReport) -> str:
    now = dt.datetime.fromtimestamp(report.now_ms / 1000, dt.UTC)
    checked = (
        f"{format_count(report.accounts, 'account')} and {format_count(report.holds, 'live hold')} checked"
    )
    verdict = "exact" if report.exact else format_count(len(report.differences), "difference")
    lines = [f"{url}  {now:%Y-%m-%d %H:%M:%S} UTC", f"{checked}: {verdict}", *map(str, report.differences)]
    return "\n".join(lines)


def _json(url: str, report: AuditReport) -> str:
    return json_text(
        {
            "store": url,
            "now_ms": report.now_ms,
            "accounts": report.accounts,
            "holds": report.holds,
            "audit": "exact" if report.exact else [str(difference) for difference in report.differences],
            "differences": report.differences,
        }
    )
