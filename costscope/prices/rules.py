"""The user's own prices: `prices:` in a policy, and `price={...}` on a decorator."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import msgspec

from costscope.errors import InvalidAmount
from costscope.money import to_count, to_nano
from costscope.prices.model_price import STANDARD, ModelPrice
from costscope.prices.rates import RateTable

__all__ = ["PriceList", "PriceRule"]

Amount = str | int | float
"""A decimal text such as "0.15" (exact), or a number."""

_PER_MILLION: Final = 1_000_000
_RATES: Final = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "output_audio",
)


class PriceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model's own prices: amounts in the currency per MILLION tokens.

    A rule with `input` or `per_call` replaces what other sources say about the model. One with limits only
    (`max_output_tokens`, `context_window`) adds them to the price found elsewhere.
    """

    input: Amount | None = None
    output: Amount | None = None
    """Without it the model must make no output."""
    cache_read: Amount | None = None
    """Without it cached input costs what `input` does; the same for the writes."""
    cache_write: Amount | None = None
    cache_write_1h: Amount | None = None
    reasoning: Amount | None = None
    input_audio: Amount | None = None
    output_audio: Amount | None = None
    batch: Amount | None = None
    """What the batch tier costs as a factor of the standard rates, such as 0.5."""
    per_call: Amount | None = None
    """A fee for each request, in the currency."""
    max_output_tokens: int | None = None
    context_window: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be a price while the policy is loaded, not at the first call.

        Raises:
            InvalidAmount: an amount that is negative, not finite, no plain decimal, or a factor above 1.
        """
        self.price("<rule>", source="policy")

    @property
    def limits_only(self) -> bool:
        """True when the rule prices nothing and only says how large a call may be."""
        return self.input is None and self.per_call is None

    def price(self, model: str, *, source: str) -> ModelPrice | None:
        """The price of this rule for `model`; None for a rule of limits only.

        Raises:
            InvalidAmount: an amount that cannot be a price, or rates without `input`.
        """
        window, longest = self._limit("context_window"), self._limit("max_output_tokens")
        rates = {name: self._rate(name) for name in _RATES if getattr(self, name) is not None}
        per_call = 0 if self.per_call is None else to_nano(self.per_call, what="per_call")
        factor = None if self.batch is None else Fraction(to_nano(self.batch, what="batch"), to_nano(1))
        if factor is not None and factor > 1:
            msg = f"batch: {self.batch!r} is a factor of the standard rates; give a number from 0 to 1, such as 0.5"
            raise InvalidAmount(msg)
        if self.limits_only:
            if rates or factor is not None:
                msg = "input: missing; a price needs `input`, in the currency per million tokens (0 for free input)"
                raise InvalidAmount(msg)
            return None
        rates.setdefault("input", Fraction(0))
        if self.input is None:
            rates.setdefault("output", Fraction(0))
        tables = {STANDARD: RateTable({-1: rates})}
        if factor is not None:
            tables["batch"] = RateTable({-1: {name: rate * factor for name, rate in rates.items()}})
        return ModelPrice(
            model,
            tables,
            source=source,
            per_call_nano=per_call,
            context_window=window,
            max_output_tokens=longest,
        )

    def _rate(self, name: str) -> Fraction:
        return Fraction(to_nano(getattr(self, name), what=f"{name} (per million tokens)"), _PER_MILLION)

    def _limit(self, name: str) -> int | None:
        value = getattr(self, name)
        return None if value is None else to_count(value, what=name)


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
