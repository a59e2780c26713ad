"""The models that the replaced systems name, and a price book over the bundled table."""

import pytest

from costscope.pricing.prices.book import PriceBook

NAMED = [
    "gpt-5.2",
    "gpt-5.1",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-4.1",
    "gpt-4o",
    "gpt-4o-mini",
    "o1",
    "o3",
    "o3-pro",
    "o4-mini",
    "gpt-4-turbo",
    "gpt-4",
    "gpt-3.5-turbo",
    "o1-mini",
    "o1-preview",
    "claude-sonnet-4-20250514",
    "claude-3-5-sonnet-20241022",
    "claude-3-5-haiku-20241022",
    "claude-3-opus-20240229",
    "claude-3-sonnet-20240229",
    "claude-3-haiku-20240307",
    "gemini-2.0-flash",
    "gemini-1.5-pro",
    "gemini-1.5-flash",
    "gemini-1.0-pro",
    "deepseek-chat",
    "deepseek-reasoner",
    "cerebras/llama-3.3-70b",
]


@pytest.fixture(scope="session")
def named():
    return NAMED


@pytest.fixture(scope="session")
def book():
    found = PriceBook()
    assert found.preload()
    return found
