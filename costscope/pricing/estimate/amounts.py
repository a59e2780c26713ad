"""`Estimate`: what to hold for a call; that of a tool, that which the user gives, and what a call really took."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from costscope.errors import InvalidAmount
from costscope.ledger.commands import Amounts
from costscope.ledger.meters import CALL_METERS, MAX_AMOUNT, METERS, MONEY
from costscope.pricing.money import to_count, to_nano

if TYPE_CHECKING:
    from costscope.pricing.prices.option import FixedPrice, Price
    from costscope.pricing.usage.usage_fields import Usage

OF_MODELS: Final = tuple(meter for meter in METERS.values() if meter.bound is not None)
"""The meters that a model call holds and takes of."""
_FURTHER: Final = tuple(
    (meter.name, meter.usage) for meter in OF_MODELS if meter.bound != meter.name and meter.usage is not None
)
"""Those beside the ones that every estimate knows, which are written out below: a loop over all takes instructions."""
_NO_TOKENS: Final[Amounts] = {meter.name: 0 for meter in OF_MODELS if meter.usage is not None}
_MEASURED: Final = {
    "model_calls": tuple(meter.name for meter in OF_MODELS if meter.bound != "model_calls"),
    "tool_calls": tuple(name for name, meter in METERS.items() if meter.of_tools and name != "tool_calls"),
}
"""What a call of each kind tells about itself when it settles."""


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """What to hold for one call. `step`, `units_min` and `units_max` are those of the ledger's `Reserve`."""

    amounts: Amounts
    """Meter to amount: all of the call (`strict`), or all but its output (`capped`)."""
    step: Amounts = {}
    """What one output token per choice adds; empty for `strict`."""
    units_min: int = 0
    units_max: int = 0
    needs_cap: int | None = None
    """The output cap the call must be given, since it has none of its own; None when it needs none."""

    def most(self, meter: str) -> int:
        """Return the most that may be held of a meter."""
        return self.amounts.get(meter, 0) + self.units_max * self.step.get(meter, 0)

    def cap_for(self, units: int) -> int | None:
        """Return the output cap to put into the call once `units` steps were granted; None to leave the call alone."""
        return units if self.units_max else self.needs_cap


def tool_estimate(price: FixedPrice) -> Estimate:
    """Return what to hold for a tool call: its fee, and one call."""
    return Estimate({"cost": price.nano, "tool_calls": 1})


def given_estimate(value: object, *, calls: Literal["model_calls", "tool_calls"] = "model_calls") -> Estimate:
    """Read the user's `estimate=`, or what that function returned.

    Args:
        value: the most the call can cost, in the currency (`"0.05"`); a mapping of meters, such as
            `{"cost": "0.05", "tokens": 2000}`; or an `Estimate`. Token meters left out hold nothing.
        calls: which meter counts the call.

    Raises:
        InvalidAmount: something else, or an amount that is none.
    """
    if isinstance(value, Estimate):
        return value
    if isinstance(value, str | int | float | Decimal):
        return Estimate({"cost": to_nano(value, what="estimate"), calls: 1, **_NO_TOKENS})
    if not isinstance(value, Mapping) or not value.keys() <= set(CALL_METERS):
        msg = (
            f'estimate: {value!r:.80} is no estimate; give an amount such as "0.05", or a mapping with some of '
            f"{', '.join(CALL_METERS)}"
        )
        raise InvalidAmount(msg)
    amounts = {
        meter: to_nano(amount, what=f"estimate: {meter}")
        if meter in MONEY
        else to_count(amount, what=f"estimate: {meter}")
        for meter, amount in value.items()
    }
    # A meter that is held at nothing is settled all the same; one that is not held at all would not be.
    return Estimate({"cost": 0, calls: 1, **_NO_TOKENS, **amounts})


def given_hold(value: object, *, calls: Literal["model_calls", "tool_calls"] = "model_calls") -> Estimate:
    """Read `estimate=` as what to hold: a meter left out holds nothing, but counts what the call turns out to use.

    Without that, `estimate="0.05"` would hide a model's tokens from every budget of tokens: a commit settles
    what was held and nothing else.
    """
    estimate = given_estimate(value, calls=calls)
    left_out = dict.fromkeys(_MEASURED[calls], 0)
    return msgspec.structs.replace(estimate, amounts=left_out | estimate.amounts)


def settled_amounts(price: Price, usage: Usage) -> Amounts:
    """Return what a model call really took, by meter: what to commit.

    Args:
        price: the one its estimate was made with.
        usage: with the tier it is billed at, see `costscope.prices.billed_usage`.

    Raises:
        ModelUnpriced: a part of the usage has no price; charge the estimate.
    """
    amounts = {
        "cost": min(price.cost(usage), MAX_AMOUNT),
        "tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "model_calls": 1,
    }
    for name, attribute in _FURTHER:
        amounts[name] = getattr(usage, attribute)
    return amounts
