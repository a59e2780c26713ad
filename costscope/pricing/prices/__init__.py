"""What a call costs: prices from the user, installed sources, genai-prices; unknown is refused, never free."""

from costscope.pricing.prices.book import PriceBook
from costscope.pricing.prices.model_price import ModelPrice
from costscope.pricing.prices.option import ComputedPrice, FixedPrice, Price, price_option
from costscope.pricing.prices.price_rules import PriceList, PriceRule
from costscope.pricing.prices.source import PriceSource, Quote
from costscope.pricing.prices.tiers import TierRates, billed_usage, checked_tier

__all__ = [
    "ComputedPrice",
    "FixedPrice",
    "ModelPrice",
    "Price",
    "PriceBook",
    "PriceList",
    "PriceRule",
    "PriceSource",
    "Quote",
    "TierRates",
    "billed_usage",
    "checked_tier",
    "price_option",
]
