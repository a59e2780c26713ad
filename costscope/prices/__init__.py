"""What a call costs: prices from the user first, then from genai-prices; unknown is refused, never free."""

from costscope.prices.book import PriceBook
from costscope.prices.model_price import ModelPrice
from costscope.prices.option import ComputedPrice, FixedPrice, Price, price_option
from costscope.prices.rules import PriceList, PriceRule
from costscope.prices.tiers import TierRates, billed_usage, checked_tier

__all__ = [
    "ComputedPrice",
    "FixedPrice",
    "ModelPrice",
    "Price",
    "PriceBook",
    "PriceList",
    "PriceRule",
    "TierRates",
    "billed_usage",
    "checked_tier",
    "price_option",
]
