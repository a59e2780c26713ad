"""Money as integers of nano-units."""

from costscope.money.amounts import NANO, MoneyLike, format_money, to_count, to_nano

__all__ = ["NANO", "MoneyLike", "format_money", "to_count", "to_nano"]
