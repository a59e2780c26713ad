"""`Estimate`: what to hold for a call, exactly (`strict`) or cut to what the budget has left (`capped`)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from costscope.errors import InvalidAmount, ModelUnpriced
from costscope.ledger.commands import Amounts
from costscope.ledger.meters import CALL_METERS, MAX_AMOUNT, METERS, MONEY
from costscope.pricing.money import format_money, to_count, to_nano

if TYPE_CHECKING:
    from costscope.pricing.prices import FixedPrice, Price
    from costscope.pricing.usage import Usage

__all__ = [
    "DEFAULT_OUTPUT_CAP",
    "MIN_OUTPUT_TOKENS",
    "Estimate",
    "capped_estimate",
    "given_estimate",
    "given_hold",
    "settled",
    "strict_estimate",
    "tool_estimate",
]

DEFAULT_OUTPUT_CAP: Final = 4096
"""The output tokens a call gets when it sets no cap itself: older models make no more."""
MIN_OUTPUT_TOKENS: Final = 16
"""An answer shorter than this is useless, so `capped` rather refuses the call. OpenAI's responses API has the
same minimum."""


_OF_MODELS: Final = tuple(meter for meter in METERS.values() if meter.bound is not None)
_FURTHER: Final = tuple((meter.name, meter.bound or "") for meter in _OF_MODELS if meter.bound != meter.name)
_FURTHER_USED: Final = tuple(
    (meter.name, meter.usage) for meter in _OF_MODELS if meter.bound != meter.name and meter.usage is not None
)
"""Meters beside those that every estimate knows, which are written out below: of each call a loop would take instructions."""
_OF_OUTPUT: Final[tuple[str, ...]] = tuple(
    meter.name for meter in _OF_MODELS if meter.bound in {"tokens", "output_tokens"}
)
"""What one more output token adds to."""
_NO_TOKENS: Final[Amounts] = {meter.name: 0 for meter in _OF_MODELS if meter.usage is not None}
_MEASURED: Final = {
    "model_calls": tuple(meter.name for meter in _OF_MODELS if meter.bound != "model_calls"),
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
        """The most that may be held of a meter."""
        return self.amounts.get(meter, 0) + self.units_max * self.step.get(meter, 0)

    def cap_for(self, units: int) -> int | None:
        """The output cap to put into the call once `units` steps were granted; None to leave the call alone."""
        return units if self.units_max else self.needs_cap


def strict_estimate(
    price: Price,
    *,
    input_tokens: int,
    output_tokens: int | None,
    choices: int = 1,
    more_output: int = 0,
    tier: str | None = None,
    audio: bool = False,
    can_cap: bool = False,
    default_cap: int = DEFAULT_OUTPUT_CAP,
) -> Estimate:
    """The most the call can use, all of it held.

    Args:
        price: what its tokens cost.
        input_tokens: an upper bound of the input, see `input_bound`.
        output_tokens: the output cap of the call, per choice; None when it has none.
        choices: how many answers it asks for (`n`, `candidate_count`).
        more_output: output tokens billed beyond the cap (a rejected `prediction`).
        tier: the service tier it asks for; None when it does not say.
        audio: the call may have audio in it.
        can_cap: a cap can be put into the call if it has none.
        default_cap: which one.

    Raises:
        ModelUnpriced: the output is bounded by nothing, or the tier has no price.
        InvalidAmount: the bound is beyond what a ledger can hold.
    """
    needs_cap = None
    if not price.has_output:
        output = 0
    elif output_tokens is not None:
        output = output_tokens
    elif can_cap:
        output = needs_cap = _limited(default_cap, price)
    else:
        output = _unlimited(price, input_tokens, default_cap)
    output = output * choices + more_output
    cost = price.ceiling(input_tokens, output, tier=tier, audio=audio)
    return Estimate(_checked(cost, input_tokens, output), needs_cap=needs_cap)


def capped_estimate(
    price: Price,
    *,
    input_tokens: int,
    output_tokens: int | None,
    choices: int = 1,
    more_output: int = 0,
    tier: str | None = None,
    audio: bool = False,
    can_cap: bool = True,
    default_cap: int = DEFAULT_OUTPUT_CAP,
    units_min: int = MIN_OUTPUT_TOKENS,
) -> Estimate:
    """The input held in full, the output as far as the budget goes: the call's cap becomes what was granted.

    Falls back to `strict_estimate` where the output cannot be cut: no way to set a cap, no output at all, or
    a computed price.

    Args:
        price: what its tokens cost.
        input_tokens: an upper bound of the input.
        output_tokens: the output cap of the call, per choice: the most that is asked for.
        choices: how many answers it asks for.
        more_output: output tokens billed beyond the cap.
        tier: the service tier it asks for.
        audio: the call may have audio in it.
        can_cap: a cap can be put into the call.
        default_cap: the most that is asked for when the call has no cap.
        units_min: the fewest output tokens that are still of use.

    Raises:
        ModelUnpriced: as `strict_estimate`.
        InvalidAmount: as `strict_estimate`.
    """
    rate = price.output_step(input_tokens, tier=tier, audio=audio) if can_cap and price.has_output else None
    units_max = _limited(default_cap, price) if output_tokens is None else output_tokens
    if rate is None or units_max == 0:
        return strict_estimate(
            price,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            choices=choices,
            more_output=more_output,
            tier=tier,
            audio=audio,
            can_cap=can_cap,
            default_cap=default_cap,
        )
    base = price.ceiling(input_tokens, more_output, tier=tier, audio=audio)
    output = units_max * choices
    _checked(base + output * rate, input_tokens, more_output + output)
    step = dict.fromkeys(_OF_OUTPUT, choices)
    if rate:
        step["cost"] = choices * rate
    return Estimate(_checked(base, input_tokens, more_output), step, min(units_min, units_max), units_max)


def tool_estimate(price: FixedPrice) -> Estimate:
    """What to hold for a tool call: its fee, and one call."""
    return Estimate({"cost": price.nano, "tool_calls": 1})


def given_estimate(value: object, *, calls: Literal["model_calls", "tool_calls"] = "model_calls") -> Estimate:
    """The estimate that the user's `estimate=` (or what that function returned) means.

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
    """`given_estimate` as what to hold: a meter left out holds nothing, but counts what the call turns out to use.

    Without that, `estimate="0.05"` would hide a model's tokens from every budget of tokens: a commit settles
    what was held and nothing else.
    """
    estimate = given_estimate(value, calls=calls)
    left_out = dict.fromkeys(_MEASURED[calls], 0)
    return msgspec.structs.replace(estimate, amounts=left_out | estimate.amounts)


def settled(price: Price, usage: Usage) -> Amounts:
    """What a model call really took, by meter: what to commit.

    Args:
        price: the one its estimate was made with.
        usage: with the tier it is billed at, see `costscope.prices.billed_usage`.

    Raises:
        ModelUnpriced: a part of the usage has no price; charge the estimate.
    """
    amounts = {
        "cost": min(price.cost(usage), MAX_AMOUNT),
        "tokens": usage.tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "model_calls": 1,
    }
    for name, attribute in _FURTHER_USED:
        amounts[name] = getattr(usage, attribute)
    return amounts


def _limited(cap: int, price: Price) -> int:
    longest = price.max_output_tokens
    return cap if longest is None else min(cap, longest)


def _unlimited(price: Price, input_tokens: int, default_cap: int) -> int:
    """The most output of a call that has no cap and can get none."""
    longest = price.max_output_tokens or price.trusted_window
    if longest is not None:
        return longest
    if price.output_step(input_tokens) == 0:
        return default_cap  # output costs nothing; this only makes room in the token meters
    msg = (
        "the output of this call has no cap and can be given none: let the function take max_tokens (or "
        "max_completion_tokens, max_output_tokens, or **kwargs), set max_output_tokens for the model under "
        "`prices:`, or give estimate="
    )
    raise ModelUnpriced(msg)


def _checked(cost: int, input_tokens: int, output_tokens: int) -> Amounts:
    if cost > MAX_AMOUNT or input_tokens + output_tokens > MAX_AMOUNT:
        msg = (
            f"the call could cost {format_money(cost)} for {input_tokens} input and {output_tokens} output tokens, "
            f"more than a ledger can hold ({format_money(MAX_AMOUNT)}); lower its output cap or give estimate="
        )
        raise InvalidAmount(msg)
    amounts = {
        "cost": cost,
        "tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "model_calls": 1,
    }
    for name, bound in _FURTHER:
        amounts[name] = amounts[bound]
    return amounts
