"""`costscope.reserve(...)`: the same two phases without a decorator, for callbacks and frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from costscope.call.denied import on_denied_option
from costscope.call.described import routed_call
from costscope.call.drivers.reservation import Reservation
from costscope.call.refused import refused_unopened
from costscope.errors import InvalidInput, ModelUnpriced
from costscope.estimate import Described, Estimate, estimate_of
from costscope.prices import checked_tier
from costscope.runtime.default import get_runtime

if TYPE_CHECKING:
    from costscope.call.denied import Wait
    from costscope.call.described import DescribedCall
    from costscope.ledger import OnLost
    from costscope.policy.controls import OnDenied
    from costscope.prices import Price
    from costscope.runtime.runtime import Runtime

__all__ = ["reserve_call"]


def reserve_call(
    *,
    model: str | None = None,
    tool: str | None = None,
    input_text: object = None,
    input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    price: object = None,
    estimate: object = None,
    tier: str | None = None,
    on_lost: OnLost = "charge",
    idempotency_key: str | None = None,
    on_denied: Literal["raise"] | Wait | None = None,
    routed: bool = False,
    stage: str | None = None,
    runtime: Runtime | None = None,
) -> Reservation:
    """A reservation to enter with `with` or `async with`.

    Leaving the block without `commit` or `release` charges what was held, unless an exception proves that the
    provider did not bill.

    Args:
        model: the model that will be called; its price is looked up.
        tool: or the tool.
        input_text: the text (or messages) that will be sent; bounds the input tokens.
        input_tokens: input tokens to be added to those of the text, where they are known.
        max_output_tokens: the output cap of the call. Without one the call must be made with `hold.max_tokens`.
        price: see `metered_model`.
        estimate: `strict` (default), `capped`, or the most the call can cost.
        tier: the service tier of the model call, such as `batch`; see `metered_model`.
        on_lost: what becomes of the hold if this process dies: `charge` or `release`.
        idempotency_key: calls with one key are reserved and charged once within a day.
        on_denied: `Wait("30s")` waits for calls in flight, "raise" does not; by default as the budget says. A block
            returns nothing, so `Return` means nothing here, and a budget that says `return` raises.
        routed: let routes and thresholds send the model call elsewhere and cap its output. Only for a caller that
            then calls `hold.model` with `hold.max_tokens`.
        stage: for the routes.
        runtime: the runtime to act on; by default the one made by `configure`.

    Raises (on entering):
        BudgetExceeded, ModelUnpriced, CallUnscoped, StoreUnavailable: refused; nothing is held.
    """
    acting = runtime or get_runtime()
    call = Described(
        model=model,
        tool=tool,
        input_text=input_text,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        price=price,
        estimate=estimate,
        tier=tier,
    )
    kind: Literal["model", "tool"] = "model" if model is not None else "tool"
    name = model or tool or ""
    route: DescribedCall | None = None
    wanted, cost = Estimate({}), None
    if routed or stage is not None:
        route = routed_call(call, stage, routed=routed, on_lost=on_lost, key=idempotency_key)
    else:
        wanted, cost = _estimated(acting, call, kind, name)
    key = None if idempotency_key is None else f"{kind}:{name}:{idempotency_key}"
    said, tier = _on_denied(on_denied), checked_tier(tier)
    return Reservation(acting, kind, name, wanted, cost, on_lost, key, max_output_tokens, tier, said, route)


def _estimated(
    runtime: Runtime, call: Described, kind: Literal["model", "tool"], name: str
) -> tuple[Estimate, Price | None]:
    """What to hold for the call, and what settles it.

    Raises:
        ModelUnpriced: refused before there is a call.
    """
    try:
        return estimate_of(runtime.prices, call)
    except ModelUnpriced as error:
        refused_unopened(error, runtime, kind, name, runtime.current_scope())
        raise


def _on_denied(given: Literal["raise"] | Wait | None) -> OnDenied | None:
    """The option as the policy's own word for it; None for what the budget says."""
    said = None if given is None else on_denied_option(given)
    if said is not None and said.do == "return":
        msg = "on_denied=Return(...): a block returns nothing; catch BudgetExceeded, or decorate a function"
        raise InvalidInput(msg)
    return said
