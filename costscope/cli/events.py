"""`costscope events`: what happened lately, from the stream that all processes of a ledger share."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from costscope.cli.books import StoreOption, open_books
from costscope.cli.event_stream import EventStream
from costscope.errors import StoreUnavailable
from costscope.events.lines import line_of
from costscope.events.records import encode_event, kind_of

if TYPE_CHECKING:
    from costscope.events.records import Event
    from costscope.stores import Store

__all__ = ["events"]

_OFTEN_S: Final = 0.5
_ALL: Final = 1000
"""At one look; the stream is not sure to keep more."""


def events(
    store: StoreOption = None,
    *,
    count: Annotated[int, typer.Option(min=0, help="How many of those that are past.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with those to come, until Ctrl-C.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, amounts in nano-units.")
    ] = False,
) -> None:
    """Print the last events: thresholds, refusals, downgrades, runaways, runs, resets."""
    books = open_books(store)
    try:
        stream = EventStream()
        past = stream.new(books, _ALL)
        _print(past[len(past) - min(count, len(past)) :], json=json)
        if follow:
            with contextlib.suppress(KeyboardInterrupt):
                _follow(books, stream, json=json)
    finally:
        books.close()


def _follow(books: Store, stream: EventStream, *, json: bool) -> None:
    away = False
    while True:
        time.sleep(_OFTEN_S)
        try:
            _print(stream.new(books, _ALL), json=json)
        except StoreUnavailable as error:  # it may come back while we wait
            if not away:
                typer.echo(f"costscope: {error}", err=True)
            away = True
        else:
            away = False


def _print(found: list[Event], *, json: bool) -> None:
    for event in found:
        typer.echo(
            encode_event(event)
            if json
            else f"{event.at:%Y-%m-%d %H:%M:%S}  {kind_of(event)}  {line_of(event)}"
        )
