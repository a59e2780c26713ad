"""Money as integers of nano-units."""

from costscope.money.amounts import (
    NANO,
    MoneyLike,
    currency,
    format_amount,
    format_money,
    to_count,
    to_nano,
)

__all__ = ["NANO", "MoneyLike", "currency", "format_amount", "format_money", "to_count", "to_nano"]
