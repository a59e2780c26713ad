"""The keyword options of the two decorators, checked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from costscope.errors import InvalidAmount, InvalidInput
from costscope.policy.model.controls import OnDenied
from costscope.policy.model.durations import to_ms
from costscope.pricing.estimate.amounts import given_estimate
from costscope.pricing.money import to_count
from costscope.pricing.prices.option import price_option
from costscope.pricing.prices.tiers import checked_tier

if TYPE_CHECKING:
    from costscope.ledger import OnLost
    from costscope.pricing.prices.option import Price


class Return(msgspec.Struct, frozen=True):
    """`on_denied=Return(value)`: a refused call returns this instead of raising.

    Of a generator it is the only item, and None stands for no item at all. A halted run raises all the same: a loop
    that goes on with what it was given instead would never end.
    """

    value: object = None


class Wait(msgspec.Struct, frozen=True):
    """`on_denied=Wait("30s")`: a call refused for calls in flight waits so long for them, first come, first served.

    A plain function that is called in an event loop does not wait, for it would hold up the calls it waits for.
    """

    timeout: str | int | float


OnDeniedOption = Literal["raise"] | Return | Wait


def on_denied_option(given: OnDeniedOption) -> OnDenied:
    """Return the option as the policy's own word for it.

    Raises:
        InvalidInput: something else.
    """
    if isinstance(given, Return):
        return OnDenied(do="return", value=given.value)
    if isinstance(given, Wait):
        try:
            if to_ms(given.timeout, what="on_denied=Wait") > 0:
                return OnDenied(do="wait", timeout=given.timeout)
        except InvalidAmount as error:
            raise InvalidInput(str(error)) from error
    if given == "raise":
        return OnDenied()
    msg = f'on_denied={given!r:.60}: write "raise", Return(value), or Wait("30s") with a time above 0'
    raise InvalidInput(msg)


OnError = Literal["charge", "release"] | Callable[[BaseException], Any]
"""What a failed call costs: the hold, nothing, or what the function says: one of these words, or an amount."""

ESTIMATE_MODES: Final = ("strict", "capped")


class Options:
    """The keyword options of the two decorators, checked once."""

    def __init__(
        self,
        *,
        price: object = None,
        estimate: object = None,
        usage: Callable[[Any], object] | None = None,
        on_error: OnError | None = None,
        on_lost: OnLost = "charge",
        idempotency_key: str | Callable[..., str | None] | None = None,
        on_denied: OnDeniedOption | None = None,
        stage: str | None = None,
        tier: str | None = None,
        input_tokens: int | None = None,
    ) -> None:
        self.price: Price | None = None if price is None else price_option(price)
        self.estimate = estimate
        if not (estimate is None or callable(estimate) or estimate in ESTIMATE_MODES):
            given_estimate(estimate)
        self.usage = usage
        if on_error not in (None, "charge", "release") and not callable(on_error):
            msg = f'on_error={on_error!r}: write "charge", "release", or a function of the exception'
            raise InvalidInput(msg)
        if on_lost not in ("charge", "release"):
            msg = f'on_lost={on_lost!r}: write "charge" (default) or "release"'
            raise InvalidInput(msg)
        reads: object = usage  # a caller without a type checker may give anything
        if reads is not None and not callable(reads):
            msg = f"usage={usage!r:.60}: give a function of what the call returned"
            raise InvalidInput(msg)
        named = isinstance(idempotency_key, str) and idempotency_key
        if idempotency_key is not None and not named and not callable(idempotency_key):
            msg = f"idempotency_key={idempotency_key!r:.60}: name an argument, or give a function of the arguments"
            raise InvalidInput(msg)
        self.on_error = on_error
        self.on_lost = on_lost
        self.idempotency_key = idempotency_key
        self.on_denied: OnDenied | None = None if on_denied is None else on_denied_option(on_denied)
        if stage is not None and (not isinstance(stage, str) or not stage):
            msg = f"stage={stage!r:.60}: give the name of a stage of the policy's routes, such as 'planning'"
            raise InvalidInput(msg)
        self.stage = stage
        self.tier = checked_tier(tier)
        self.input_tokens = 0 if input_tokens is None else to_count(input_tokens, what="input_tokens")
