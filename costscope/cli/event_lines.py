"""An event on one line of a screen: when, what kind, about whom; a log has `costscope.events.lines`, which says more."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from rich.text import Text

from costscope.cli.amounts import short_amount, short_money
from costscope.cli.spans import span
from costscope.events.records import (
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
    kind_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["short_line"]

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
    """`05:04:12  threshold  tenant-day at 80% of cost: 0.8100 of 1.0000  tenant=acme`, cut at the screen's edge.

    Args:
        event: what happened.
        now: an event that is older than a day shows its date instead of the time.
    """
    kind = kind_of(event)
    when = f"{event.at:%H:%M:%S}" if now - event.at < _DAY else f"{event.at:%m-%d}   "
    text = Text(f"{when}  ", style="bright_black", no_wrap=True, overflow="ellipsis")
    text.append(_NAMES.get(kind, kind).ljust(_NAME_WIDTH), style=_STYLES.get(kind, "default"))
    text.append("  " + _printable(_about(event)), style="default")
    if event.labels:
        labels = " ".join(f"{name}={value}" for name, value in event.labels.items())
        text.append("  " + _printable(labels), style="bright_black")
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


def _printable(text: str) -> str:
    """Names and reasons come from outside: nothing of them may move the cursor."""
    return text if text.isprintable() else ascii(text)[1:-1]
