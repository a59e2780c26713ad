"""Prices from the genai-prices package, taken out once and turned into our own exact integers.

The only module that imports genai_prices, and only when a price is looked up: the import takes half a
second. Its traps, and what is done about each:

* a service tier it does not know silently gets the standard price: our tables know which tiers exist;
* a token kind without a price is free there: a part falls back to its whole, and output or input without
  any price is refused;
* tokens it prices in other units (audio hours, pages, characters) cannot be bounded: refused;
* image, video and citation tokens are told apart by no usage we read: such a model is charged throughout at
  the dearest of its kinds;
* prices change by date and by hour (UTC): each price is built for one moment and says when it ends.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Final

from costscope.pricing.prices.model_price import ModelPrice, RateTable
from costscope.pricing.prices.source import Quote
from costscope.pricing.prices.tiers import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genai_prices import types
    from genai_prices.data_snapshot import DataSnapshot


_ALIASES: Final = {
    "azure_openai": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "amazon_bedrock": "aws",
    "gemini": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "vertex_ai": "google",
    "vertex": "google",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "xai": "x-ai",
    "mistralai": "mistral",
    "voyage": "voyageai",
}
"""How LiteLLM, LangChain and others call a provider, to the id it has in genai-prices."""

_BEDROCK: Final = re.compile(
    r"(?:(?:us|us-gov|eu|apac|au|jp|ca|sa|me|global)\.)?"
    r"(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|qwen|writer|stability)\.[a-z0-9]"
)
_VERTEX: Final = re.compile(r"(?:projects/[^/]+/.*/)?(?:publishers/[^/]+/)?models/([^/]+)")
_DATED: Final = re.compile(r"(.+)[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6})")

_FAMILIES: Final = (
    (re.compile(r"text-embedding-\d|text-embedding-ada|chatgpt-|codex-|omni-|computer-use-"), "openai"),
    (re.compile(r"voyage-"), "voyageai"),
    (re.compile(r"command-|embed-(?:english|multilingual|v\d)|rerank-"), "cohere"),
    (re.compile(r"sonar|pplx-"), "perplexity"),
)
"""Names that are one provider's own, and that genai-prices does not guess by itself."""


def readings(model: str, provider: str | None) -> list[tuple[str | None, str]]:
    """List what `model` may mean, likeliest first: (provider id or None for "guess by the name", model).

    People write `gpt-4o`, `openai/gpt-4o` (LiteLLM, OpenRouter), `bedrock/converse/us.anthropic.claude-...`,
    `anthropic.claude-...` (Bedrock), `models/gemini-...`, `projects/.../models/...` (Vertex).

    Args:
        model: the name as it was given.
        provider: the provider, when it is known, in any of its spellings.
    """
    name = model.strip().lower()
    vertex = _VERTEX.fullmatch(name)
    if vertex:
        return [(_provider_id(provider) or "google", vertex[1])]
    found: list[tuple[str | None, str]] = []
    prefix, slash, rest = name.partition("/")
    if provider is not None:
        known = _provider_id(provider)
        found.append((known, name))
        if slash and _provider_id(prefix) == known:
            found.append((known, rest))
        return found
    last = name.rpartition("/")[2]
    if _BEDROCK.match(last):
        return [("aws", last)]
    if slash:
        found += [(_provider_id(prefix), rest), (None, name)]
        return found
    found.append((None, name))
    found += [(owner, name) for family, owner in _FAMILIES if family.match(name)]
    return found


def own_names(model: str, provider: str | None) -> list[str]:
    """List the names under which the user may have priced `model`: with its provider, without, without its date."""
    bare = model.rpartition("/")[2]
    names = [model, bare]
    if provider is not None:
        names.insert(0, f"{provider}/{model}")
    dated = _DATED.fullmatch(bare)
    if dated:
        names.append(dated[1])
    return names


def _provider_id(provider: str | None) -> str | None:
    if provider is None:
        return None
    name = provider.strip().lower()
    return _ALIASES.get(name, name)


_NANO_PER_TOKEN: Final = 1000
"""USD per million tokens, times this, is nano-USD per token."""
_NANO_PER_THOUSANDTH: Final = 1_000_000
"""USD per thousand, times this, is nano-USD for one."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

_KINDS: Final = {
    "input": ("input_mtok", "input_image_mtok", "input_video_mtok"),
    "cache_read": ("cache_read_mtok", "cache_image_read_mtok", "cache_video_read_mtok"),
    "cache_audio": ("cache_audio_read_mtok",),
    "cache_write": ("cache_write_mtok",),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "input_audio": ("input_audio_mtok",),
    "output": ("output_mtok", "output_image_mtok", "output_video_mtok", "output_citation_mtok"),
    "reasoning": ("output_reasoning_mtok",),
    "output_audio": ("output_audio_mtok",),
}
"""Our rate to the price keys it stands for, the first being the one it cannot do without."""
_FEES: Final = frozenset({"requests_kcount", "web_searches_kcount", "storage_searches_kcount"})
_KNOWN: Final = _FEES.union(*_KINDS.values())
_WITHOUT_OUTPUT: Final = re.compile(r"embed|rerank|voyage|\bbge-|\bgte-")
_ANTHROPIC_1H_WRITE: Final = 2
"""Anthropic: an hour-long cache write costs twice the input; older and resold price lists leave it out."""


class BundledPrices:
    """The table as the price source that is asked last."""

    currency: Final = "USD"

    def find(self, model: str, *, provider: str | None, at: datetime) -> Quote | None:
        """Find the price of a model at one moment, and until when it holds.

        Args:
            model: the name in any of its usual forms.
            provider: the provider, when known.
            at: the moment of the request, with a time zone.

        Returns:
            The price with the moment of its next change; None when there is none that can be relied on.
        """
        at = at.astimezone(UTC)
        snapshot = _snapshot()
        if snapshot is None:
            return None
        for provider_id, name in readings(model, provider):
            try:
                owner, info = snapshot.find_provider_model(name, None, provider_id, None)
            except LookupError:
                continue
            price = _model_price(model, owner, info, at)
            return None if price is None else Quote(price, min(_changes(info, at), default=_NEVER))
        return None


def load() -> bool:
    """Import the price table now (0.8 s, blocking) rather than at the first call; False if it is not installed."""
    return _snapshot() is not None


def _snapshot() -> DataSnapshot | None:
    try:
        from genai_prices import data_snapshot  # noqa: PLC0415 - heavy, and in an extra
    except ModuleNotFoundError:
        return None
    return data_snapshot.get_snapshot()


def _model_price(name: str, owner: types.Provider, info: types.ModelInfo, at: datetime) -> ModelPrice | None:
    standard = info.get_prices(at)
    prices = _stated_prices(standard)
    if not prices or not prices.keys() <= _KNOWN or "input_mtok" not in prices:
        return None
    if "output_mtok" not in prices and not _WITHOUT_OUTPUT.search(info.id.lower()):
        return None
    claude = "claude" in info.id.lower()
    tables = {STANDARD: _rate_table(prices, claude=claude)}
    ambient: list[str] = []
    # a model that a provider resells is matched without the variants of its maker
    sold_by_maker = any(info is own for own in owner.models)
    for variant in info.price_variants or () if sold_by_maker else ():
        (key, value), *more = variant.when.items()
        tier = (
            value if key in {"service_tier", "processing", "speed"} and not more else str(dict(variant.when))
        )
        if tier in tables or tier == "default":
            continue
        tables[tier] = _rate_table(_stated_prices(info.get_prices(at, variant.when)), claude=claude)
        # responses of a batch say so, whether its calls do or not; speeds, and tiers elsewhere, must be asked for
        if key != "speed" and not (key == "service_tier" and owner.id != "openai"):
            ambient.append(tier)
    web_search = prices.get("web_searches_kcount")
    return ModelPrice(
        name,
        tables,
        source="genai-prices",
        provider=owner.id,
        ambient=ambient,
        web_search=None if web_search is None else Fraction(_at(web_search, -1)) * _NANO_PER_THOUSANDTH,
        per_call_nano=_fee(prices),
        context_window=info.context_window,
    )


def _stated_prices(prices: types.ModelPrice) -> dict[str, object]:
    return {
        key: value for key, value in vars(prices).items() if value is not None and not key.startswith("_")
    }


def _rate_table(prices: Mapping[str, object], *, claude: bool) -> RateTable:
    starts = {-1}
    for price in prices.values():
        starts.update(tier.start for tier in getattr(price, "tiers", ()))
    return RateTable({start: _band(prices, start, claude=claude) for start in starts})


def _band(prices: Mapping[str, object], start: int, *, claude: bool) -> dict[str, Fraction]:
    band = {
        kind: max(Fraction(_at(prices[key], start)) * _NANO_PER_TOKEN for key in keys if key in prices)
        for kind, keys in _KINDS.items()
        if keys[0] in prices
    }
    if claude and "cache_write_1h" not in band:
        band["cache_write_1h"] = max(
            band["input"] * _ANTHROPIC_1H_WRITE, band.get("cache_write", Fraction(0))
        )
    return band


def _at(price: object, start: int) -> str:
    """Return the price in the band that starts at `start`, as an exact decimal text."""
    value = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):  # sorted by start
        if tier.start <= start:
            value = tier.price
    return str(value)


def _fee(prices: Mapping[str, object]) -> int:
    fee = prices.get("requests_kcount")
    return 0 if fee is None else ceil(Fraction(_at(fee, -1)) * _NANO_PER_THOUSANDTH)


def _changes(info: types.ModelInfo, at: datetime) -> Iterator[datetime]:
    """List the moments after `at` at which one of the model's dated or time-of-day prices begins or ends."""
    dated: list[object] = (
        [] if not isinstance(info.prices, list) else [price.constraint for price in info.prices]
    )
    dated += [variant.constraint for variant in info.price_variants or ()]
    for constraint in dated:
        start_date = getattr(constraint, "start_date", None)
        if start_date is not None:
            begins = datetime.combine(start_date, time(), tzinfo=UTC)
            if begins > at:
                yield begins
        for edge in (getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)):
            if edge is not None:
                zone = edge.tzinfo or UTC
                begins = datetime.combine(at.astimezone(zone).date(), edge, tzinfo=zone).astimezone(UTC)
                yield begins if begins > at else begins + timedelta(days=1)
