"""Parts of a policy in words, for explanations and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.meters import MONEY
from costscope.ledger.times import UNITS_MS
from costscope.policy.actions import action_words
from costscope.policy.model.controls import WALL_CLOCK
from costscope.pricing.money import format_money

if TYPE_CHECKING:
    from costscope.policy.model.controls import OnDenied, Pattern, Triggers

__all__ = [
    "action_words",
    "amount_words",
    "denied_words",
    "duration_words",
    "match_words",
    "pattern_words",
    "trigger_words",
]


def amount_words(meter: str, amount: int, currency: str) -> str:
    """`USD 5.00`, `1,000,000 tokens`, `1 run`; of `wall_clock` a duration."""
    if meter in MONEY:
        return format_money(amount, currency)
    if meter == WALL_CLOCK:
        return f"{duration_words(amount)} of wall clock"
    unit = meter.replace("_", " ")
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"


def duration_words(milliseconds: int) -> str:
    """`1h 30m`; at most two units, the rest is cut off."""
    parts = []
    for unit, size in UNITS_MS.items():
        number, milliseconds = divmod(milliseconds, size)
        if number:
            parts.append(f"{number}{unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def match_words(match: dict[str, Pattern]) -> str:
    """`tenant is acme, user is absent`; empty for everything."""
    return ", ".join(f"{label} is {pattern_words(pattern)}" for label, pattern in match.items())


def denied_words(on_denied: OnDenied) -> str:
    """`raise`, `return None`, `wait 30s`."""
    if on_denied.do == "return":
        return f"return {on_denied.value!r:.40}"
    return f"wait {on_denied.timeout}" if on_denied.do == "wait" else "raise"


def trigger_words(triggers: Triggers | None) -> tuple[str, ...]:
    """`soft_threshold_exceeded`, `remaining_budget_below 5.00`."""
    if triggers is None:
        return ()
    given = {name: getattr(triggers, name) for name in triggers.__struct_fields__}
    return tuple(
        name if value is True else f"{name} {value}"
        for name, value in given.items()
        if value is not None and value is not False
    )


def pattern_words(pattern: Pattern) -> str:
    """`acme or b*`, `present`, `absent`."""
    if pattern is None:
        return "absent"
    if isinstance(pattern, str):
        return "present" if pattern == "*" else pattern
    return "present" if "*" in pattern else " or ".join(pattern)
