"""Price tables of other packages: what a source of the entry-point group `costscope.prices` is and gives."""

from costscope.pricing.prices.source import PriceSource, Quote

__all__ = ["PriceSource", "Quote"]
