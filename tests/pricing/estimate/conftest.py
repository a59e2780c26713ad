"""Prices to estimate with."""

import pytest

from costscope.pricing.prices.book import PriceBook
from costscope.pricing.prices.price_rules import PriceRule


@pytest.fixture(scope="session")
def book():
    found = PriceBook()
    assert found.preload()
    return found


@pytest.fixture
def price():
    """10 nano per input token, 100 per output token."""
    return PriceRule(input="0.01", output="0.1").price("m", source="policy")
