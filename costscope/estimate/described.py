"""Calls that are described rather than made: what `reserve` and `preview` are told, as an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from costscope.errors import InvalidInput
from costscope.estimate.bound import input_bound, text_bound
from costscope.estimate.estimate import (
    Estimate,
    capped_estimate,
    given_hold,
    strict_estimate,
    tool_estimate,
)
from costscope.money import to_count
from costscope.prices import FixedPrice, checked_tier, price_option

if TYPE_CHECKING:
    from costscope.prices import Price, PriceBook

__all__ = ["Described", "estimate_of"]


class Described(TypedDict, total=False):
    """A call in words; see `costscope.reserve`."""

    model: str | None
    tool: str | None
    input_text: object
    input_tokens: int | None
    max_output_tokens: int | None
    price: object
    estimate: object
    tier: str | None


def estimate_of(prices: PriceBook, call: Described) -> tuple[Estimate, Price | None]:
    """What to hold for the call, and the price to settle it at.

    Raises:
        InvalidInput: both or none of `model` and `tool` are named.
        ModelUnpriced: no price is known, or nothing bounds the cost.
    """
    model, tool, estimate = call.get("model"), call.get("tool"), call.get("estimate")
    given: Price | None = None if call.get("price") is None else price_option(call["price"])
    if tool is not None and model is None:
        if estimate is not None:
            return given_hold(estimate, calls="tool_calls"), None
        fee = given if isinstance(given, FixedPrice) else prices.tool(tool) or FixedPrice(0)
        return tool_estimate(fee), None
    if model is None or tool is not None:
        msg = "name either model= or tool=, so that its price is known and it is counted as one"
        raise InvalidInput(msg)
    price = given or prices.require(model)
    if estimate not in (None, "strict", "capped"):
        return given_hold(estimate), price
    tokens, audio = _count(call.get("input_tokens"), "input_tokens") or 0, False
    if call.get("input_text") is not None:
        bound = text_bound(call["input_text"])
        tokens, audio = tokens + input_bound(bound, price, model=model), bound.audio
    make = capped_estimate if estimate == "capped" else strict_estimate
    cap = _count(call.get("max_output_tokens"), "max_output_tokens")
    tier = checked_tier(call.get("tier"))
    return make(price, input_tokens=tokens, output_tokens=cap, tier=tier, audio=audio, can_cap=True), price


def _count(value: int | None, what: str) -> int | None:
    return None if value is None else to_count(value, what=what)
