"""`PriceBook`: the price of a model or tool: the user's own list, then installed sources, then the bundled table."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from costscope.errors import ModelUnpriced
from costscope.pricing.money import to_nano
from costscope.pricing.prices import bundled
from costscope.pricing.prices.bundled import own_names
from costscope.pricing.prices.option import FixedPrice
from costscope.pricing.prices.price_rules import PriceList
from costscope.pricing.prices.source import CheckedSource, installed_sources

if TYPE_CHECKING:
    from costscope.pricing.prices.model_price import ModelPrice
    from costscope.pricing.prices.price_rules import PriceRule

_REMEMBERED_MAX: Final = 4096
"""Names remembered at once; a flood of made-up names starts over instead of filling the memory."""
_BUNDLED: Final = CheckedSource("genai-prices", "the bundled price table", bundled.BundledPrices)
_FRESH_S: Final = 60.0
"""How long a looked-up price is used before the table is asked again, which may have been updated."""


class PriceBook:
    """Prices by model and tool name. Safe to share between threads; a repeated look-up is one dict access."""

    def __init__(
        self,
        own: PriceList | None = None,
        *,
        use_installed: bool = True,
        use_bundled: bool = True,
        currency: str = "USD",
    ) -> None:
        """Build a book.

        Args:
            own: the user's own prices, from the policy; they come first.
            use_installed: False leaves out the sources of other packages.
            use_bundled: False leaves out genai-prices.
            currency: what the own prices and the budgets are in. Sources in another one are left out, such as the
                bundled one where it is not USD: nothing here knows the rate of exchange.
        """
        self._own = own or PriceList()
        self._use_installed = use_installed
        self._has_bundled = use_bundled and currency == bundled.BundledPrices.currency
        self._currency = currency
        self._tools = {name: FixedPrice(to_nano(amount)) for name, amount in self._own.tools.items()}
        self._remembered: dict[tuple[str, str | None], tuple[float, float, ModelPrice | None]] = {}

    def find(
        self, model: str, *, provider: str | None = None, at: datetime | None = None
    ) -> ModelPrice | None:
        """Find the price of a model at the moment of the request.

        Settle a call with the price it was reserved at: prices change by date and by the hour, and providers
        bill by when the request was made.

        Args:
            model: the name, in any of the usual forms: `gpt-4o`, `openai/gpt-4o`, `anthropic.claude-...`.
            provider: who serves it, when that is known.
            at: the moment of the request, with a time zone; None for now.

        Returns:
            The price, or None when no source has one that can be relied on.

        Raises:
            ModelUnpriced: a source that is asked has failed.
        """
        moment = time.time() if at is None else at.timestamp()
        remembered = self._remembered.get((model, provider))
        if remembered is not None and remembered[0] <= moment < remembered[1]:
            return remembered[2]
        price, until = self._look_up(model, provider, datetime.fromtimestamp(moment, UTC))
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered = {}
        self._remembered[model, provider] = (moment, min(until, moment + _FRESH_S), price)
        return price

    def require(self, model: str, *, provider: str | None = None, at: datetime | None = None) -> ModelPrice:
        """Return the price of a model, as `find` has it.

        Raises:
            ModelUnpriced: no source has one, or one has failed. Unknown is refused, never free.
        """
        price = self.find(model, provider=provider, at=at)
        if price is None:
            advice = "" if self._has_bundled and bundled.load() else ", install costscope[prices]"
            if self._currency != bundled.BundledPrices.currency:
                advice = f"; the bundled prices are in USD and the policy is in {self._currency}"
            msg = (
                f"no price is known for the model {model!r:.120}, and unknown is never free; add it to the policy "
                f'(prices: {{models: {{"{model:.60}": {{input: "0.15", output: "0.60"}}}}}}, per million tokens), '
                f"give price= at the call{advice}"
            )
            raise ModelUnpriced(msg)
        return price

    def tool(self, name: str) -> FixedPrice | None:
        """Return the user's own price of a tool, per call; None when there is none."""
        return self._tools.get(name)

    def preload(self) -> bool:
        """Import the price tables now (0.8 s, blocking), not in the first call.

        Returns:
            False if the bundled one is not installed.

        Raises:
            ModelUnpriced: a source of another package cannot be loaded.
        """
        for source in self._sources():
            source.load()
        return self._has_bundled and bundled.load()

    def _look_up(self, model: str, provider: str | None, at: datetime) -> tuple[ModelPrice | None, float]:
        rule = self._own_rule(model, provider)
        if rule is not None and not rule.limits_only:
            return rule.price(model, source="policy"), float("inf")
        price, until = self._quote(model, provider, at)
        if price is not None and rule is not None:
            price = price.with_limits(rule.context_window, rule.max_output_tokens)
        return price, float("inf") if until is None else until.timestamp()

    def _quote(
        self, model: str, provider: str | None, at: datetime
    ) -> tuple[ModelPrice | None, datetime | None]:
        """Return what the first source says that has the model."""
        for source in self._sources():
            price, until = source.quote(model, provider, at, self._currency)
            if price is not None:
                return price, until
        return None, None

    def _sources(self) -> tuple[CheckedSource, ...]:
        installed = installed_sources() if self._use_installed else ()
        return (*installed, _BUNDLED) if self._has_bundled else installed

    def _own_rule(self, model: str, provider: str | None) -> PriceRule | None:
        models = self._own.models
        return next((models[name] for name in own_names(model, provider) if name in models), None)
