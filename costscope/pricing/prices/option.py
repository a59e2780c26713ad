# ruff: noqa: ARG002 - every price answers the same questions; these two need not look at all of one
"""Prices given in code: `price=` of a decorator, fixed per call, per million tokens, or computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from costscope.errors import InvalidAmount
from costscope.pricing.money import MoneyLike, to_nano
from costscope.pricing.prices.model_price import ModelPrice
from costscope.pricing.prices.price_rules import PriceRule, convert_price
from costscope.pricing.prices.tiers import asked_tiers
from costscope.pricing.usage.usage_fields import Usage


class _OwnPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What the user's own prices have in common."""

    context_window: int | None = None
    max_output_tokens: int | None = None
    provider: str | None = None

    @property
    def trusted_window(self) -> int | None:
        """The context window."""
        return self.context_window

    @property
    def has_output(self) -> bool:
        """True: output is allowed."""
        return True


class FixedPrice(_OwnPrice, frozen=True, gc=False):
    """The same price for every call."""

    nano: int

    def cost(self, usage: Usage | None = None) -> int:
        """Return the price, in nano-units."""
        return self.nano

    def ceiling(
        self, input_tokens: int = 0, output_tokens: int = 0, *, tier: str | None = None, audio: bool = False
    ) -> int:
        """Return the price, in nano-units."""
        return self.nano

    def output_step(self, input_tokens: int = 0, *, tier: str | None = None, audio: bool = False) -> int:
        """Return 0: more output costs no more."""
        return 0


class ComputedPrice(_OwnPrice, frozen=True):
    """A price that the user's own function computes from the usage.

    The function must not fall when tokens rise: the estimate is its value for the largest possible usage. Where it
    looks at `usage.tier`, it must not ask more for a tier that the call does not state.
    """

    function: Callable[[Usage], MoneyLike]

    def cost(self, usage: Usage) -> int:
        """Ask the function for the cost of `usage`, in nano-units.

        Raises:
            InvalidAmount: it returned something that is no amount.
        """
        return to_nano(self.function(usage), what="the result of price=")

    def ceiling(
        self, input_tokens: int, output_tokens: int, *, tier: str | None = None, audio: bool = False
    ) -> int:
        """Return the function's value for exactly so many tokens, in the dearest tier that may be billed."""
        asked = (None, tier) if tier is None else asked_tiers(tier) or (None, tier)
        return max(self.cost(Usage(input_tokens, output_tokens, tier=one)) for one in dict.fromkeys(asked))

    def output_step(self, input_tokens: int, *, tier: str | None = None, audio: bool = False) -> None:
        """Return None: a function need not be linear, so a hold cannot be cut to size."""
        return


Price = ModelPrice | FixedPrice | ComputedPrice
"""All that can price a call. They answer the same questions; all amounts are in nano-units, rounded up."""


def price_option(price: object, *, what: str = "price") -> Price:
    """Read `price=` of a decorator or of `reserve`.

    Args:
        price: `"0.01"`, a Decimal or a number: a fixed price per call, in the currency. A mapping such as
            `{"input": "0.15", "output": "0.60"}`: per million tokens, with the keys of `PriceRule`. A function
            from `Usage` to an amount. A price object: taken as it is.
        what: the name of the value, for the error message.

    Raises:
        InvalidAmount: something else, or amounts that cannot be prices.
    """
    if isinstance(price, Price):
        return price
    if isinstance(price, str | int | float | Decimal):
        return FixedPrice(to_nano(price, what=what))
    if isinstance(price, Mapping):
        return _price_per_million(price, what)
    if callable(price):
        return ComputedPrice(price)
    msg = (
        f'{what}: {price!r:.60} is no price; give an amount per call such as "0.01", a mapping of amounts per '
        f'million tokens such as {{"input": "0.15", "output": "0.60"}}, or a function of the usage'
    )
    raise InvalidAmount(msg)


def _price_per_million(price: Mapping[object, object], what: str) -> ModelPrice:
    plain = {key: str(value) if isinstance(value, Decimal) else value for key, value in price.items()}
    try:
        return convert_price(plain, what, source="call")
    except msgspec.ValidationError as error:
        msg = f"{what}: {error}; the keys are {', '.join(PriceRule.__struct_fields__)}"
        raise InvalidAmount(msg) from error
    except InvalidAmount as error:
        msg = f"{what}: {error}"
        raise InvalidAmount(msg) from error
