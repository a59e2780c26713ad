"""Parts of a policy in words, for explanations and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.meters import MONEY
from costscope.ledger.times import UNITS_MS
from costscope.policy.model.controls import WALL_CLOCK
from costscope.pricing.money import format_money

if TYPE_CHECKING:
    from costscope.policy.model.controls import OnDenied, Pattern, Triggers


def format_amount(meter: str, amount: int, currency: str) -> str:
    """Format an amount of a meter: `USD 5.00`, `1,000,000 tokens`, `1 run`; of `wall_clock`, in ms, a duration."""
    if meter in MONEY:
        return format_money(amount, currency)
    if meter == WALL_CLOCK:
        return f"{format_duration(amount)} of wall clock"
    unit = meter.replace("_", " ")
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"


def format_duration(milliseconds: int) -> str:
    """Format a duration as `1h 30m`; at most two units, the rest is cut off."""
    parts = []
    for unit, size in UNITS_MS.items():
        number, milliseconds = divmod(milliseconds, size)
        if number:
            parts.append(f"{number}{unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def format_match(match: dict[str, Pattern]) -> str:
    """Format a `match` as `tenant is acme, user is absent`; empty for everything."""
    return ", ".join(f"{label} is {format_pattern(pattern)}" for label, pattern in match.items())


def format_on_denied(on_denied: OnDenied) -> str:
    """Format what a refused call does: `raise`, `return None`, `wait 30s`."""
    if on_denied.do == "return":
        return f"return {on_denied.value!r:.40}"
    return f"wait {on_denied.timeout}" if on_denied.do == "wait" else "raise"


def format_triggers(triggers: Triggers | None) -> tuple[str, ...]:
    """Format each trigger: `soft_threshold_exceeded`, `remaining_budget_below 5.00`."""
    if triggers is None:
        return ()
    given = {name: getattr(triggers, name) for name in triggers.__struct_fields__}
    return tuple(
        name if value is True else f"{name} {value}"
        for name, value in given.items()
        if value is not None and value is not False
    )


def format_pattern(pattern: Pattern) -> str:
    """Format a pattern: `acme or b*`, `present`, `absent`."""
    if pattern is None:
        return "absent"
    if isinstance(pattern, str):
        return "present" if pattern == "*" else pattern
    return "present" if "*" in pattern else " or ".join(pattern)
