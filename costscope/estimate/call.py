"""From the arguments of a call to what to hold for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from costscope.errors import ModelUnpriced
from costscope.estimate.arguments import SETTINGS, choices_of, output_cap, settings_of, tier_of, wants_audio
from costscope.estimate.bound import Bound, input_bound, text_bound
from costscope.estimate.estimate import DEFAULT_OUTPUT_CAP, Estimate, capped_estimate, strict_estimate
from costscope.estimate.parts import FEATURES, open_ended, server_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.estimate.arguments import CallShape
    from costscope.prices import Price

__all__ = ["arguments_bound", "estimate_call"]

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
    default_cap: int = DEFAULT_OUTPUT_CAP,
    more_input: int = 0,
) -> Estimate:
    """An upper bound of what a model call can use, from its arguments.

    Args:
        arguments: parameter name to value, as `CallShape.bind` gives them. Text that the function adds by
            itself, which is in no argument, is covered by `CALL_SLACK` and no more.
        price: what the model's tokens cost.
        model: its name, for messages.
        mode: `strict` holds all of it; `capped` cuts the output to what the budgets have left.
        tier: the service tier where its arguments do not say.
        shape: the function's signature, if a cap can be put into the call; None when nothing can.
        default_cap: the output cap of a call that has none.
        more_input: input tokens beside those of the arguments, where they are known.

    Raises:
        ModelUnpriced: something in the call is bounded by nothing that is known; says what, and the remedy.
        InvalidAmount: the bound is beyond what a ledger can hold.
    """
    plain = _LOOKED_AT.isdisjoint(arguments) and type(arguments.get("prompt")) in _PLAIN_PROMPTS
    bound = text_bound(arguments) if plain else arguments_bound(arguments, model=model)
    output_tokens = output_cap(arguments)
    can_cap = shape is not None and (
        output_tokens is not None or shape.can_cap(arguments, provider=price.provider)
    )
    estimate = capped_estimate if mode == "capped" else strict_estimate
    input_tokens = input_bound(bound, price, model=model) + more_input
    if plain:  # most calls: nothing in them changes what a token costs
        return estimate(
            price,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            tier=tier,
            audio=bound.audio,
            can_cap=can_cap,
            default_cap=default_cap,
        )
    prediction = arguments.get("prediction")
    return estimate(
        price,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        choices=choices_of(arguments),
        more_output=0 if prediction is None else text_bound(prediction).tokens,
        tier=tier_of(arguments, tier),
        audio=bound.audio or wants_audio(arguments),
        can_cap=can_cap,
        default_cap=default_cap,
    )


def arguments_bound(arguments: Mapping[str, object], *, model: str) -> Bound:
    """The bound of all text among the arguments, and what text does not bound.

    Raises:
        ModelUnpriced: a feature is asked for that nothing in the call bounds, such as a tool the provider runs.
    """
    state: list[str] = []
    for settings in settings_of(arguments):
        state += server_state(settings)
        unbounded = list(open_ended(settings))
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
