"""`costscope events`: what happened lately, from the stream that all processes of a ledger share."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from costscope.cli.open_books import StoreOption, open_books
from costscope.cli.widgets import span
from costscope.errors import StoreUnavailable
from costscope.observe.events.log_lines import line_of
from costscope.observe.events.reader import EventReader
from costscope.observe.events.records import (
    AccountReset,
    CallDegraded,
    CallRefused,
    CallSettled,
    Downgraded,
    Event,
    Kind,
    PolicyReloaded,
    RunawayDetected,
    RunEnded,
    RunStarted,
    ThresholdCrossed,
    encode_event,
    kind_of,
)
from costscope.observe.reports.as_json import short_amount, short_money

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.stores import Store


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
    with contextlib.closing(open_books(store)) as books:
        stream = EventReader()
        past = stream.read(books, _ALL)
        _print(past[len(past) - min(count, len(past)) :], json=json)
        if follow:
            with contextlib.suppress(KeyboardInterrupt):
                _follow(books, stream, json=json)


def _follow(books: Store, stream: EventReader, *, json: bool) -> None:
    away = False
    while True:
        time.sleep(_OFTEN_S)
        try:
            _print(stream.read(books, _ALL), json=json)
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


_STYLES: Final[Mapping[Kind, str]] = {
    "threshold": "yellow",
    "denied": "red",
    "degraded": "yellow",
    "downgrade": "cyan",
    "runaway": "bold red",
}
_NAMES: Final[Mapping[Kind, str]] = {"run_started": "run began", "run_ended": "run ended"}
_NAME_WIDTH: Final = 9
_DAY: Final = dt.timedelta(days=1)


def short_line(event: Event, now: dt.datetime) -> Text:
    """Write `05:04:12  threshold  tenant-day at 80% of cost: 0.8100 of 1.0000  tenant=acme`, cut at the screen's edge.

    Args:
        event: what happened.
        now: an event that is older than a day shows its date instead of the time.
    """
    kind = kind_of(event)
    when = f"{event.at:%H:%M:%S}" if now - event.at < _DAY else f"{event.at:%m-%d}   "
    text = Text(f"{when}  ", style="bright_black", no_wrap=True, overflow="ellipsis")
    text.append(_NAMES.get(kind, kind).ljust(_NAME_WIDTH), style=_STYLES.get(kind, "default"))
    text.append("  " + _escape_controls(_about(event)), style="default")
    if event.labels:
        labels = " ".join(f"{name}={value}" for name, value in event.labels.items())
        text.append("  " + _escape_controls(labels), style="bright_black")
    return text


def _about(event: Event) -> str:  # noqa: C901, PLR0911 - one case for each record
    match event:
        case ThresholdCrossed():
            used = short_amount(event.meter, event.spent + event.held)
            of = f"{used} of {short_amount(event.meter, event.limit)}"
            return f"{event.budget} at {event.threshold:g}% of {event.meter}: {of}"
        case CallRefused():
            by = f" by {event.budget}" if event.budget else ""
            meter = f" ({event.meter})" if event.meter else ""
            would = "" if event.enforced else "would be "
            return f"{event.what} {event.name}: {would}{event.kind}{by}{meter}"
        case CallDegraded():
            return f"{event.what} {event.name}: above {event.budget} ({event.meter})"
        case Downgraded():
            saved = f", {short_money(event.saved)} less" if event.saved else ""
            return f"{event.asked} -> {event.effective}: {event.reason}{saved}"
        case RunawayDetected():
            return f"{event.run}: {event.reason}, {event.measured:g} where {event.allowed:g} is allowed"
        case CallSettled():
            return f"{event.what} {event.name}: {event.outcome}, {short_money(event.cost)}"
        case RunStarted():
            return event.run
        case RunEnded():
            reason = f" ({event.reason})" if event.reason else ""
            return f"{event.run}: {event.status}{reason}, {short_money(event.cost)} in {span(event.seconds)}"
        case AccountReset():
            return f"{event.budget}: {event.reason}"
        case PolicyReloaded():
            return f"{event.source}: {'in force' if event.accepted else f'refused, {event.problem}'}"


def _escape_controls(text: str) -> str:
    """Escape what could move the cursor: names and reasons come from outside."""
    return text if text.isprintable() else ascii(text)[1:-1]
