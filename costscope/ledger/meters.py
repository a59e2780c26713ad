"""What is counted: the names of the meters and their units."""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = [
    "CALL_METERS",
    "COUNTERS",
    "HALTS",
    "MAX_AMOUNT",
    "METERS",
    "SLOTS",
    "CallMeter",
    "Counter",
    "Meter",
    "Slot",
]

CallMeter = Literal["cost", "tokens", "input_tokens", "output_tokens", "model_calls", "tool_calls"]
"""What a metered call uses. `cost` is in nano-units of the currency; the token meters in tokens; the call meters
in calls."""

Counter = Literal[
    "cost", "tokens", "input_tokens", "output_tokens", "model_calls", "tool_calls", "runs", "iterations"
]
"""What only ever adds up within a window."""

Slot = Literal["concurrent_runs", "concurrent_calls"]
"""What is taken and given back: nothing of it is ever spent, and a lost holder's is free after its lease."""

Meter = Literal[
    "cost",
    "tokens",
    "input_tokens",
    "output_tokens",
    "model_calls",
    "tool_calls",
    "runs",
    "iterations",
    "concurrent_runs",
    "concurrent_calls",
    "halts",
]

METERS: Final[tuple[str, ...]] = get_args(Meter)
"""All of them, in the order of the wire: a meter's place is part of the layout of a Valkey ledger."""

COUNTERS: Final[tuple[str, ...]] = get_args(Counter)
CALL_METERS: Final[tuple[str, ...]] = get_args(CallMeter)
SLOTS: Final = frozenset(get_args(Slot))

HALTS: Final = "halts"
"""Orders to stop: an account limits it to 0, every reserve asks for 0 of it, and one commit of 1 refuses all
that come after. So a stop is decided where admission is, for every process at once, and is in the books."""

MAX_AMOUNT: Final = 2**53 - 1
"""The largest amount, limit or sum: above it Lua's doubles admit what they must refuse. USD 9,007,199.25."""
