"""What a call costs: prices from the user first, then from genai-prices; unknown is refused, never free."""

from costscope.pricing.prices import (
    ComputedPrice,
    FixedPrice,
    ModelPrice,
    Price,
    PriceBook,
    PriceList,
    PriceRule,
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
    "TierRates",
    "billed_usage",
    "checked_tier",
    "price_option",
]
