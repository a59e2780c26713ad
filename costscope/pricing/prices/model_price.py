"""`ModelPrice`: what the tokens of one model cost at one moment, in every service tier."""

from __future__ import annotations

from copy import copy
from math import ceil
from typing import TYPE_CHECKING

from costscope.errors import ModelUnpriced
from costscope.pricing.prices.tiers import STANDARD, asked_tiers, is_discount, is_standard, plain_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from fractions import Fraction

    from costscope.pricing.prices.rates import RateTable
    from costscope.pricing.usage import Usage

__all__ = ["STANDARD", "ModelPrice"]


class ModelPrice:
    """What the tokens of one model cost. Immutable, exact, in nano-units of the currency.

    Attributes:
        model: the name it was found by.
        provider: id of the provider whose price list it is from, or None for the user's own.
        source: `policy` or `call` for the user's own, `genai-prices` for the bundled table.
        per_call_nano: a fee for each request, on top of the tokens.
        context_window: the most input tokens the provider accepts, when known.
        max_output_tokens: the most output tokens the model makes, when known.
    """

    __slots__ = (
        "_constant",
        "_standard",
        "_tables",
        "_usual",
        "_web_search",
        "context_window",
        "max_output_tokens",
        "model",
        "per_call_nano",
        "provider",
        "source",
    )

    def __init__(
        self,
        model: str,
        tables: Mapping[str, RateTable],
        *,
        source: str,
        provider: str | None = None,
        ambient: Collection[str] = (),
        web_search: Fraction | None = None,
        per_call_nano: int = 0,
        context_window: int | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        """Build a price.

        Args:
            model: the name it is found by.
            tables: rates by service tier; `standard` must be there.
            source: where the price is from.
            provider: id of the provider.
            ambient: tiers that the provider may choose without being asked in the call (OpenAI: a project
                setting decides when `service_tier` is left out).
            web_search: nano-units for one search that the provider runs inside a call.
            per_call_nano: a fee for each request.
            context_window: the most input tokens.
            max_output_tokens: the most output tokens.
        """
        self.model = model
        self.provider = provider
        self.source = source
        self.per_call_nano = per_call_nano
        self.context_window = context_window
        self.max_output_tokens = max_output_tokens
        self._tables = dict(tables)
        self._standard = self._tables[STANDARD]
        self._usual = (self._standard, *(self._tables[tier] for tier in ambient))
        flat = all(table.last_start < 0 for table in self._usual)
        self._constant = tuple(_dearest(self._usual, 0, audio) for audio in (False, True)) if flat else None
        self._web_search = web_search

    def __repr__(self) -> str:
        rate_in, rate_out = self.dearest(0, tier=STANDARD)
        return (
            f"ModelPrice({self.model!r}, source={self.source!r}, dearest={rate_in}/{rate_out} nano per token)"
        )

    def cost(self, usage: Usage) -> int:
        """What `usage` cost, in nano-units, rounded up.

        An amount that the provider sent itself is taken as it is, unless the price is the user's own.

        Raises:
            ModelUnpriced: the usage has a part without a price: a service tier, output, a web search.
        """
        if usage.cost_nano is not None and self.source == "genai-prices":
            return usage.cost_nano
        tier = usage.tier
        table = self._standard if tier is None else self._table(tier)
        cost = table.cost(usage) + self.per_call_nano
        return cost + self._searches(usage.web_searches) if usage.web_searches else cost

    def dearest(self, input_tokens: int, *, tier: str | None = None, audio: bool = False) -> tuple[int, int]:
        """The dearest rates a call can be billed at, in whole nano-units per (input, output) token.

        The maximum over plain and cached tokens, the context bands that `input_tokens` reaches, and the
        service tiers the provider may use.

        Args:
            input_tokens: an upper bound of the call's input.
            tier: the service tier the call states; None when it does not say, and any may be used.
            audio: the call may have audio in it, which has rates of its own.

        Raises:
            ModelUnpriced: the call states a dearer tier that has no price.
        """
        asked = None if tier is None else asked_tiers(tier)
        if asked is None:
            if self._constant is not None:
                return self._constant[audio]
            return _dearest(self._usual, input_tokens, audio)
        if len(asked) == 1:
            return self._table(asked[0]).dearest(input_tokens, audio=audio)
        tables = [self._table(asked[1])]
        tables += [self._tables[other] for other in asked if other in self._tables]
        return _dearest(tables, input_tokens, audio)

    def ceiling(
        self, input_tokens: int, output_tokens: int, *, tier: str | None = None, audio: bool = False
    ) -> int:
        """The most that a call of at most so many tokens can cost, in nano-units."""
        rate_in, rate_out = self.dearest(input_tokens, tier=tier, audio=audio)
        return input_tokens * rate_in + output_tokens * rate_out + self.per_call_nano

    def output_step(self, input_tokens: int, *, tier: str | None = None, audio: bool = False) -> int | None:
        """What one more output token can cost, in nano-units."""
        return self.dearest(input_tokens, tier=tier, audio=audio)[1]

    def limited(self, context_window: int | None, max_output_tokens: int | None) -> ModelPrice:
        """The same price with the user's word on how large a call may be."""
        changed = copy(self)
        changed.context_window = context_window or self.context_window
        changed.max_output_tokens = max_output_tokens or self.max_output_tokens
        return changed

    @property
    def has_output(self) -> bool:
        """False for a model without a price for output (embeddings): it must not make any."""
        return self._standard.has_output

    @property
    def trusted_window(self) -> int | None:
        """The context window, unless the price list itself has bands above it: then the window is out of date."""
        window = self.context_window
        return None if window is None or self._standard.last_start >= window else window

    def _table(self, tier: str) -> RateTable:
        name = plain_name(tier)
        table = self._tables.get(name)
        if table is not None:
            return table
        if is_standard(name) or is_discount(name):
            return self._standard
        if name == "priority" and self.provider == "anthropic":
            return self._standard  # committed capacity, without a surcharge per token
        msg = (
            f"{self.model}: the service tier {tier!r} has no price (known: {', '.join(sorted(self._tables))}); "
            f"ask for service_tier='default', or price the tier under `prices:` (a model's `priority: 1.75`)"
        )
        raise ModelUnpriced(msg)

    def _searches(self, number: int) -> int:
        if self._web_search is None:
            msg = f"{self.model}: {number} web searches inside the call, and no price for one is known"
            raise ModelUnpriced(msg)
        return ceil(number * self._web_search)


def _dearest(tables: Iterable[RateTable], input_tokens: int, audio: bool) -> tuple[int, int]:
    rates = [table.dearest(input_tokens, audio=audio) for table in tables]
    return max(rate for rate, _ in rates), max(rate for _, rate in rates)
