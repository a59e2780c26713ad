"""From the arguments of a model call, or its description, to what to hold for it.

All of it is held (`strict`), or the output is cut to what the budget has left (`capped`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypedDict

from costscope.errors import InvalidAmount, InvalidInput, ModelUnpriced
from costscope.ledger.meters import MAX_AMOUNT
from costscope.pricing.estimate.amounts import OF_MODELS, Estimate, given_hold, tool_estimate
from costscope.pricing.estimate.arguments import (
    SETTINGS,
    choices_of,
    output_cap,
    settings_of,
    tier_of,
    wants_audio,
)
from costscope.pricing.estimate.bound import Bound, input_bound, text_bound
from costscope.pricing.estimate.parts import FEATURES, server_state, unbounded_features
from costscope.pricing.money import format_money, to_count
from costscope.pricing.prices.option import FixedPrice, price_option
from costscope.pricing.prices.tiers import checked_tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.ledger.commands import Amounts
    from costscope.pricing.estimate.arguments import CallShape
    from costscope.pricing.prices.book import PriceBook
    from costscope.pricing.prices.option import Price

DEFAULT_OUTPUT_CAP: Final = 4096
"""The output tokens a call gets when it sets no cap itself: older models make no more."""
MIN_OUTPUT_TOKENS: Final = 16
"""An answer shorter than this is useless, so `capped` rather refuses the call. OpenAI's responses API has the
same minimum."""
_OF_OUTPUT: Final[tuple[str, ...]] = tuple(
    meter.name for meter in OF_MODELS if meter.bound in {"tokens", "output_tokens"}
)
"""The meters that one more output token adds to."""
_FURTHER: Final = tuple((meter.name, meter.bound or "") for meter in OF_MODELS if meter.bound != meter.name)
"""Meters beside those of `_call_amounts`, and what bounds them."""
_LOOKED_AT: Final = FEATURES | SETTINGS | {"prediction"}
_PLAIN_PROMPTS: Final = frozenset({type(None), str, list})
"""A prompt of another kind may be a reference to one that the provider keeps."""


def estimate_call(
    arguments: Mapping[str, object],
    price: Price,
    *,
    model: str,
    mode: Literal["strict", "capped"] = "strict",
    tier: str | None = None,
    shape: CallShape | None = None,
    more_input: int = 0,
) -> Estimate:
    """Bound what a model call can use from above, by its arguments.

    Args:
        arguments: parameter name to value, as `CallShape.bind` gives them. Text that the function adds by
            itself, which is in no argument, is covered by `CALL_SLACK` and no more.
        price: what the model's tokens cost.
        model: its name, for messages.
        mode: `strict` holds all of it; `capped` cuts the output to what the budgets have left.
        tier: the service tier where its arguments do not say.
        shape: the function's signature, if a cap can be put into the call; None when nothing can.
        more_input: input tokens beside those of the arguments, where they are known.

    Raises:
        ModelUnpriced: something in the call is bounded by nothing that is known; says what, and the remedy.
        InvalidAmount: the bound is beyond what a ledger can hold.
    """
    output_tokens = output_cap(arguments)
    can_cap = shape is not None and (
        output_tokens is not None or shape.can_cap(arguments, provider=price.provider)
    )
    plain = _LOOKED_AT.isdisjoint(arguments) and type(arguments.get("prompt")) in _PLAIN_PROMPTS
    bound = text_bound(arguments) if plain else arguments_bound(arguments, model=model)
    choices, more_output, audio = 1, 0, bound.audio
    if not plain:  # in most calls nothing changes what a token costs
        prediction = arguments.get("prediction")
        choices, tier = choices_of(arguments), tier_of(arguments, tier)
        more_output = 0 if prediction is None else text_bound(prediction).tokens
        audio = audio or wants_audio(arguments)
    return model_estimate(
        price,
        mode=mode,
        input_tokens=input_bound(bound, price, model=model) + more_input,
        output_tokens=output_tokens,
        choices=choices,
        more_output=more_output,
        tier=tier,
        audio=audio,
        can_cap=can_cap,
    )


def arguments_bound(arguments: Mapping[str, object], *, model: str) -> Bound:
    """Bound all text among the arguments, and name what text does not bound.

    Raises:
        ModelUnpriced: a feature is asked for that nothing in the call bounds, such as a tool the provider runs.
    """
    state: list[str] = []
    for settings in settings_of(arguments):
        state += server_state(settings)
        unbounded = list(unbounded_features(settings))
        if unbounded:
            msg = (
                f"{model}: what {', '.join(unbounded)} adds to the bill is bounded by nothing in the call; "
                f"leave it out or give estimate= (the most the call can cost)"
            )
            raise ModelUnpriced(msg)
    tools = arguments.get("tools")
    if tools is None:
        bound = text_bound(arguments)
    else:
        bound = text_bound({name: value for name, value in arguments.items() if name != "tools"})
        bound = Bound(bound.tokens + text_bound(tools, tools=True).tokens, bound.media, bound.audio)
    return Bound(bound.tokens, (*bound.media, *state), audio=True) if state else bound


def model_estimate(
    price: Price,
    *,
    input_tokens: int,
    output_tokens: int | None,
    mode: Literal["strict", "capped"] = "strict",
    choices: int = 1,
    more_output: int = 0,
    tier: str | None = None,
    audio: bool = False,
    can_cap: bool = True,
) -> Estimate:
    """Return what to hold for a call whose tokens are bounded.

    Args:
        price: what its tokens cost.
        input_tokens: an upper bound of the input, see `input_bound`.
        output_tokens: the output cap of the call, per choice; None when it has none.
        mode: `strict` holds the most that the call can use. `capped` holds the output as far as the budget goes: the
            call's cap becomes what was granted. Where the output cannot be cut (no way to set a cap, no output at
            all, a computed price) it is `strict`.
        choices: how many answers it asks for.
        more_output: output tokens billed beyond the cap, such as those of a prediction that is rejected.
        tier: the service tier it asks for.
        audio: the call may have audio in it.
        can_cap: a cap can be put into the call if it has none.

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
        output = needs_cap = _default_cap(price)
    else:
        output = _uncapped_output(price, input_tokens)
    if mode == "capped" and can_cap and output:
        rate = price.output_step(input_tokens, tier=tier, audio=audio)
        if rate is not None:
            base = price.ceiling(input_tokens, more_output, tier=tier, audio=audio)
            _call_amounts(base + output * choices * rate, input_tokens, more_output + output * choices)
            step = dict.fromkeys(_OF_OUTPUT, choices)
            if rate:
                step["cost"] = choices * rate
            amounts = _call_amounts(base, input_tokens, more_output)
            return Estimate(amounts, step, min(MIN_OUTPUT_TOKENS, output), output)
    output = output * choices + more_output
    cost = price.ceiling(input_tokens, output, tier=tier, audio=audio)
    return Estimate(_call_amounts(cost, input_tokens, output), needs_cap=needs_cap)


def _default_cap(price: Price) -> int:
    longest = price.max_output_tokens
    return DEFAULT_OUTPUT_CAP if longest is None else min(DEFAULT_OUTPUT_CAP, longest)


def _uncapped_output(price: Price, input_tokens: int) -> int:
    """Return the most output, in tokens, of a call that has no cap and can get none."""
    longest = price.max_output_tokens or price.trusted_window
    if longest is not None:
        return longest
    if price.output_step(input_tokens) == 0:
        return DEFAULT_OUTPUT_CAP  # output costs nothing; this only makes room in the token meters
    msg = (
        "the output of this call has no cap and can be given none: let the function take max_tokens (or "
        "max_completion_tokens, max_output_tokens, or **kwargs), set max_output_tokens for the model under "
        "`prices:`, or give estimate="
    )
    raise ModelUnpriced(msg)


def _call_amounts(cost: int, input_tokens: int, output_tokens: int) -> Amounts:
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


class Described(TypedDict, total=False):
    """A call that is described rather than made: what `reserve` and `preview` are told."""

    model: str | None
    tool: str | None
    input_text: object
    input_tokens: int | None
    max_output_tokens: int | None
    price: object
    estimate: object
    tier: str | None


def estimate_of(prices: PriceBook, call: Described) -> tuple[Estimate, Price | None]:
    """Return what to hold for a call that is described, and the price to settle it at.

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
    wanted = model_estimate(
        price,
        mode="capped" if estimate == "capped" else "strict",
        input_tokens=tokens,
        output_tokens=_count(call.get("max_output_tokens"), "max_output_tokens"),
        tier=checked_tier(call.get("tier")),
        audio=audio,
    )
    return wanted, price


def _count(value: int | None, what: str) -> int | None:
    return None if value is None else to_count(value, what=what)
