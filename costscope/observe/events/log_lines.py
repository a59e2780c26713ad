"""A record as one line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from costscope.ledger.meters import MONEY
from costscope.observe.events.records import (
    AccountReset,
    CallDegraded,
    CallRefused,
    CallSettled,
    Downgraded,
    PolicyReloaded,
    Record,
    RunawayDetected,
    RunEnded,
    RunStarted,
    ThresholdCrossed,
)
from costscope.pricing.money import format_money

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.observe.events.records import Event


def line_of(event: Event, currency: str = "USD") -> str:
    """Say what happened on one line, without control characters even where names and reasons contain some."""
    line = _SENTENCES[type(event)](event, currency)
    if event.labels:
        line += f" ({', '.join(f'{name}={value}' for name, value in event.labels.items())})"
    return line if line.isprintable() else "".join(map(_escape, line))


def _threshold_sentence(event: ThresholdCrossed, currency: str) -> str:
    amounts = _amounts(event, event.meter, currency, "spent", "held", "remaining", "limit")
    message = f"; {event.message}" if event.message else ""
    return f"budget {event.budget} has passed {event.threshold:g}% of its {event.meter}: {amounts}{message}"


def _denied_sentence(event: CallRefused, _currency: str) -> str:
    verb = "was refused" if event.enforced else "would have been refused"
    return f"{event.what} {event.name} {verb}: {event.kind}: {event.reason}"


def _degraded_sentence(event: CallDegraded, currency: str) -> str:
    amounts = _amounts(event, event.meter, currency, "spent", "held", "limit")
    return f"{event.what} {event.name} went above the {event.meter} of budget {event.budget}: {amounts}"


def _downgrade_sentence(event: Downgraded, currency: str) -> str:
    cap = f" with at most {event.max_tokens:,} tokens" if event.max_tokens is not None else ""
    saved = f", {format_money(event.saved, currency)} less" if event.saved is not None else ""
    return f"{event.asked} was called as {event.effective}{cap}: {event.reason}{saved}"


def _run_ended_sentence(event: RunEnded, currency: str) -> str:
    reason = f": {event.reason}" if event.reason else ""
    cost = format_money(event.cost, currency)
    return f"run {event.run} has ended, {event.status}{reason}; {cost} in {event.seconds:.1f} s"


def _reset_sentence(event: AccountReset, currency: str) -> str:
    forgiven = ", ".join(
        f"{meter} {_amount(meter, amount, currency)}" for meter, amount in event.forgiven.items()
    )
    return f"budget {event.budget} was reset: {event.reason}; forgiven: {forgiven or 'nothing'}"


def _policy_sentence(event: PolicyReloaded, _currency: str) -> str:
    if event.accepted:
        return f"the policy {event.source} is in force"
    return f"the policy {event.source} was refused, the old one stays: {event.problem}"


_SENTENCES: Final[dict[type[Record], Callable[[Any, str], str]]] = {
    ThresholdCrossed: _threshold_sentence,
    CallRefused: _denied_sentence,
    CallDegraded: _degraded_sentence,
    Downgraded: _downgrade_sentence,
    RunawayDetected: lambda event, _: f"run {event.run} seems out of control: {event.detail}",
    CallSettled: lambda event, currency: (
        f"{event.what} {event.name} has ended: {event.outcome}, {format_money(event.cost, currency)}"
    ),
    RunStarted: lambda event, _: f"run {event.run} was admitted",
    RunEnded: _run_ended_sentence,
    AccountReset: _reset_sentence,
    PolicyReloaded: _policy_sentence,
}


def _amounts(event: ThresholdCrossed | CallDegraded, meter: str, currency: str, *names: str) -> str:
    return ", ".join(f"{name} {_amount(meter, getattr(event, name), currency)}" for name in names)


def _amount(meter: str, amount: int, currency: str) -> str:
    return format_money(amount, currency) if meter in MONEY else f"{amount:,}"


def _escape(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
