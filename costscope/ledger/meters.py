"""What is counted: the names of the meters and their units."""

from __future__ import annotations

from typing import Final, Literal, get_args

__all__ = ["COUNTERS", "MAX_AMOUNT", "Meter"]

Meter = Literal["cost", "tokens", "input_tokens", "output_tokens", "model_calls", "tool_calls"]
"""`cost` is in nano-units of the currency; the token meters in tokens; the call meters in calls."""

COUNTERS: Final[tuple[str, ...]] = get_args(Meter)

MAX_AMOUNT: Final = 2**53 - 1
"""The largest amount, limit or sum: above it Lua's doubles admit what they must refuse. USD 9,007,199.25."""
