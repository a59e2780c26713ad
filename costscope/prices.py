"""What a call costs: prices from the user, installed sources, genai-prices; unknown is refused, never free."""

from costscope.pricing.prices import (
    ComputedPrice,
    FixedPrice,
    ModelPrice,
    Price,
    PriceBook,
    PriceList,
    PriceRule,
    PriceSource,
    Quote,
    TierRates,
    billed_usage,
    checked_tier,
    price_option,
)

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
