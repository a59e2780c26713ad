"""A record as one line for people, and how loudly it is logged."""

from __future__ import annotations

import logging
from functools import singledispatch
from typing import TYPE_CHECKING, Final

from costscope.ledger.meters import MONEY
from costscope.observe.events.records import (
    AccountReset,
    CallDegraded,
    CallRefused,
    CallSettled,
    Downgraded,
    Kind,
    PolicyReloaded,
    Record,
    RunawayDetected,
    RunEnded,
    RunStarted,
    ThresholdCrossed,
    kind_of,
)
from costscope.pricing.money import format_money

if TYPE_CHECKING:
    from costscope.observe.events.records import Event

__all__ = ["level_of", "line_of"]

_LEVELS: Final[dict[Kind, int]] = {
    "threshold": logging.DEBUG,  # a warning where its actions say `log`, as below
    "denied": logging.INFO,  # the call raises anyhow
    "degraded": logging.INFO,
    "downgrade": logging.INFO,
    "runaway": logging.DEBUG,  # as for thresholds
    "settled": logging.NOTSET,
    "run_started": logging.DEBUG,
    "run_ended": logging.INFO,
    "reset": logging.WARNING,
    "policy": logging.INFO,
}


def level_of(event: Event) -> int:
    """The level of `logging` for a record; 0: it is not logged."""
    if isinstance(event, ThresholdCrossed | RunawayDetected) and "log" in event.actions:
        return logging.WARNING
    if isinstance(event, RunEnded) and event.status in {"halted", "abandoned"}:
        return logging.WARNING
    if isinstance(event, PolicyReloaded) and not event.accepted:
        return logging.ERROR
    return _LEVELS[kind_of(event)]


def line_of(event: Event, currency: str = "USD") -> str:
    """What happened, on one line without control characters, whatever names and reasons contain."""
    line = _sentence(event, currency)
    if event.labels:
        line += f" ({', '.join(f'{name}={value}' for name, value in event.labels.items())})"
    return line if line.isprintable() else "".join(map(_printable, line))


@singledispatch
def _sentence(event: Record, currency: str) -> str:
    raise NotImplementedError(type(event), currency)


@_sentence.register
def _threshold(event: ThresholdCrossed, currency: str) -> str:
    amounts = _amounts(event, event.meter, currency, "spent", "held", "remaining", "limit")
    message = f"; {event.message}" if event.message else ""
    return f"budget {event.budget} has passed {event.threshold:g}% of its {event.meter}: {amounts}{message}"


@_sentence.register
def _denied(event: CallRefused, _currency: str) -> str:
    verb = "was refused" if event.enforced else "would have been refused"
    return f"{event.what} {event.name} {verb}: {event.kind}: {event.reason}"


@_sentence.register
def _degraded(event: CallDegraded, currency: str) -> str:
    amounts = _amounts(event, event.meter, currency, "spent", "held", "limit")
    return f"{event.what} {event.name} went above the {event.meter} of budget {event.budget}: {amounts}"


@_sentence.register
def _downgrade(event: Downgraded, currency: str) -> str:
    cap = f" with at most {event.max_tokens:,} tokens" if event.max_tokens is not None else ""
    saved = f", {format_money(event.saved, currency)} less" if event.saved is not None else ""
    return f"{event.asked} was called as {event.effective}{cap}: {event.reason}{saved}"


@_sentence.register
def _runaway(event: RunawayDetected, _currency: str) -> str:
    return f"run {event.run} seems out of control: {event.detail}"


@_sentence.register
def _settled(event: CallSettled, currency: str) -> str:
    return f"{event.what} {event.name} has ended: {event.outcome}, {format_money(event.cost, currency)}"


@_sentence.register
def _run_started(event: RunStarted, _currency: str) -> str:
    return f"run {event.run} was admitted"


@_sentence.register
def _run_ended(event: RunEnded, currency: str) -> str:
    reason = f": {event.reason}" if event.reason else ""
    cost = format_money(event.cost, currency)
    return f"run {event.run} has ended, {event.status}{reason}; {cost} in {event.seconds:.1f} s"


@_sentence.register
def _reset(event: AccountReset, currency: str) -> str:
    forgiven = ", ".join(
        f"{meter} {_amount(meter, amount, currency)}" for meter, amount in event.forgiven.items()
    )
    return f"budget {event.budget} was reset: {event.reason}; forgiven: {forgiven or 'nothing'}"


@_sentence.register
def _policy(event: PolicyReloaded, _currency: str) -> str:
    if event.accepted:
        return f"the policy {event.source} is in force"
    return f"the policy {event.source} was refused, the old one stays: {event.problem}"


def _amounts(event: ThresholdCrossed | CallDegraded, meter: str, currency: str, *names: str) -> str:
    return ", ".join(f"{name} {_amount(meter, getattr(event, name), currency)}" for name in names)


def _amount(meter: str, amount: int, currency: str) -> str:
    return format_money(amount, currency) if meter in MONEY else f"{amount:,}"


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
