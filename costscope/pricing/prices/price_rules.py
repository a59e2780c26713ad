"""The user's own prices: `prices:` in a policy, and `price={...}` on a decorator."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from costscope.errors import InvalidAmount
from costscope.pricing.money import to_count, to_nano
from costscope.pricing.prices.model_price import ModelPrice, RateTable
from costscope.pricing.prices.tiers import OWN_TIERS, STANDARD, Amount, Rates, TierRates, own_tables

if TYPE_CHECKING:
    from collections.abc import Mapping


class PriceRule(Rates, frozen=True, forbid_unknown_fields=True):
    """One model's own prices: amounts in the currency per MILLION tokens.

    A rule with `input` or `per_call` replaces what other sources say about the model. One with limits only
    (`max_output_tokens`, `context_window`) adds them to the price found elsewhere.
    """

    batch: Amount | TierRates | None = None
    """What the batch tier costs: a factor of the standard rates, such as 0.5, or rates of its own."""
    flex: Amount | TierRates | None = None
    """The same for a slower tier; without it, it costs what standard does."""
    priority: Amount | TierRates | None = None
    """The same for a dearer one; without it, calls that are billed at it are refused."""
    fast: Amount | TierRates | None = None
    """The same for Anthropic's fast mode."""
    per_call: Amount | None = None
    """A fee for each request, in the currency."""
    max_output_tokens: int | None = None
    context_window: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a price while the policy is loaded, not at the first call.

        Raises:
            InvalidAmount: an amount that is negative, not finite, no plain decimal, or a factor out of its range.
        """
        self.price("<rule>", source="policy")

    @property
    def limits_only(self) -> bool:
        """True when the rule prices nothing and only says how large a call may be."""
        return self.input is None and self.per_call is None

    @property
    def tiers(self) -> dict[str, Amount | TierRates]:
        """The tiers the rule prices."""
        found = {tier: getattr(self, tier) for tier in OWN_TIERS}
        return {tier: price for tier, price in found.items() if price is not None}

    def price(self, model: str, *, source: str) -> ModelPrice | None:
        """Build the price of this rule for `model`; None for a rule of limits only.

        Raises:
            InvalidAmount: an amount that cannot be a price, or rates without `input`.
        """
        window, longest = self._limit("context_window"), self._limit("max_output_tokens")
        rates = self.rates()
        per_call = 0 if self.per_call is None else to_nano(self.per_call, what="per_call")
        if self.limits_only:
            if rates or self.tiers:
                msg = "input: missing; a price needs `input`, in the currency per million tokens (0 for free input)"
                raise InvalidAmount(msg)
            return None
        rates.setdefault("input", Fraction(0))
        if self.input is None:
            rates.setdefault("output", Fraction(0))
        tiers, ambient = own_tables(model, self.tiers, rates)
        return ModelPrice(
            model,
            {tier: RateTable({-1: found}) for tier, found in ({STANDARD: rates} | tiers).items()},
            source=source,
            ambient=ambient,
            per_call_nano=per_call,
            context_window=window,
            max_output_tokens=longest,
        )

    def _limit(self, name: str) -> int | None:
        value = getattr(self, name)
        return None if value is None else to_count(value, what=name)


def convert_price(given: Mapping[object, object], model: str, *, source: str) -> ModelPrice:
    """Build the price of a model from amounts per million tokens, with the keys of `PriceRule`.

    Raises:
        InvalidAmount: they price nothing.
        msgspec.ValidationError: they cannot be prices.
    """
    price = msgspec.convert(given, PriceRule).price(model, source=source)
    if price is None:
        msg = f"{given!r:.80} prices nothing; give at least `input`, per million tokens"
        raise InvalidAmount(msg)
    return price


class PriceList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`prices:` of a policy: models by name (`gpt-4o`, `openai/gpt-4o`), tools by name with their fee per call."""

    models: dict[str, PriceRule] = {}
    tools: dict[str, Amount] = {}

    def __post_init__(self) -> None:
        """Refuse a tool's fee that is no amount.

        Raises:
            InvalidAmount: negative, not finite, or no plain decimal.
        """
        for name, amount in self.tools.items():
            to_nano(amount, what=f"tools.{name}")
