"""The user's own prices: in the policy and in code; and the book that puts them first."""

import math
import threading
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from costscope.errors import InvalidAmount, ModelUnpriced
from costscope.pricing.prices.book import PriceBook
from costscope.pricing.prices.option import ComputedPrice, FixedPrice, price_option
from costscope.pricing.prices.price_rules import PriceList, PriceRule
from costscope.pricing.usage.usage_fields import Usage


def decode(text):
    return msgspec.yaml.decode(text, type=PriceList)


OWN = decode("""
models:
  my-model: {input: "0.15", output: "0.60", cache_read: 0.075, cache_write: "0.1875", batch: 0.5}
  gpt-4o: {input: 1, output: 2}
  openai/gpt-4o-mini: {input: 3, output: 4}
  gpt-4.1: {max_output_tokens: 1000, context_window: 5000}
  per-call: {per_call: "0.005"}
  embedder: {input: "0.02"}
tools:
  web_search: "0.01"
  free: 0
""")


@pytest.fixture
def book():
    return PriceBook(OWN)


def test_own_prices_are_per_million_tokens_and_exact(book):
    price = book.find("my-model")
    assert price.source == "policy"
    assert price.cost(Usage(1_000_000, 1_000_000)) == 750_000_000
    assert price.cost(Usage(1_000_000, 0, 500_000, 500_000)) == 37_500_000 + 93_750_000
    assert price.cost(Usage(3, 0, 3)) == 225
    assert price.dearest_rates(1) == (188, 600)


def test_own_batch_factor(book):
    assert book.find("my-model").cost(Usage(1_000_000, 0, tier="batch")) == 75_000_000


def test_own_prices_come_first_under_every_form_of_the_name(book):
    assert book.find("gpt-4o").source == "policy"
    assert book.find("openai/gpt-4o").source == "policy"
    assert book.find("gpt-4o-2024-08-06").source == "policy"
    assert book.find("gpt-4o-mini").source == "genai-prices"  # never by prefix
    assert book.find("gpt-4o-mini", provider="openai").source == "policy"


def test_an_own_price_stands_against_what_a_gateway_says_it_billed(book):
    assert book.find("gpt-4o").cost(Usage(1_000_000, 0, cost_nano=1)) == 1_000_000_000


def test_limits_alone_are_added_to_the_bundled_price(book):
    price = book.find("gpt-4.1")
    assert (price.source, price.max_output_tokens, price.context_window) == ("genai-prices", 1000, 5000)


def test_a_fee_per_call_alone_makes_tokens_free(book):
    price = book.find("per-call")
    assert price.cost(Usage(1000, 1000)) == 5_000_000 == price.ceiling(1000, 1000)


def test_a_model_priced_for_input_only_must_make_no_output(book):
    assert not book.find("embedder").has_output


def test_tools_have_their_fee_per_call(book):
    assert book.tool("web_search") == FixedPrice(10_000_000)
    assert book.tool("free") == FixedPrice(0)
    assert book.tool("unknown") is None


def test_without_the_bundled_table_only_own_prices_exist():
    book = PriceBook(OWN, use_bundled=False)
    assert book.find("gpt-4o-mini") is None
    assert book.find("my-model") is not None
    assert not book.preload()


def test_an_unknown_model_is_refused_with_the_remedy(book):
    with pytest.raises(ModelUnpriced, match=r"never free.*prices:") as error:
        book.require("nobody/knows-this")
    assert error.value.kind == "unpriced"


def test_an_uninstalled_price_table_is_named_in_the_remedy():
    with pytest.raises(ModelUnpriced, match=r"costscope\[prices\]"):
        PriceBook(use_bundled=False).require("gpt-4o")


def test_bundled_prices_are_in_usd_and_left_out_of_a_policy_in_another_currency():
    book = PriceBook(OWN, currency="JPY")
    assert book.find("my-model") is not None
    with pytest.raises(ModelUnpriced, match="in USD and the policy is in JPY"):
        book.require("gpt-4o-mini")


def test_a_repeated_look_up_returns_the_same_price_and_a_flood_of_names_is_forgotten(book):
    at = datetime(2026, 11, 22, tzinfo=UTC)
    first = book.find("gpt-4o-mini", at=at)
    assert book.find("gpt-4o-mini", at=at) is first
    own_only = PriceBook(use_bundled=False)
    for number in range(10_000):
        assert own_only.find(f"model-{number}") is None
    assert len(own_only._remembered) <= 4096


def test_threads_share_a_book():
    book, found = PriceBook(OWN), []
    threads = [threading.Thread(target=lambda: found.append(book.find("my-model"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert None not in found


@pytest.mark.parametrize(
    "rule",
    [
        '{input: "-1"}',
        "{input: -1}",
        "{input: .nan}",
        "{input: .inf}",
        '{input: "1e5"}',
        '{input: "1_0"}',
        '{input: "٣"}',
        "{input: true}",
        "{input: [1]}",
        "{input: 1e30}",
        "{output: 1}",
        "{batch: 0.5}",
        "{input: 1, batch: 2}",
        "{input: 1, outptu: 2}",
        "{input: 1, max_output_tokens: -1}",
        "{input: 1, context_window: 1.5}",
        "{per_call: -1}",
        "5",
    ],
)
def test_a_rule_that_cannot_be_a_price_is_refused_when_the_policy_is_loaded_with_its_path(rule):
    with pytest.raises(msgspec.ValidationError, match=r"\$\.models"):
        decode(f"models: {{m: {rule}}}")


def test_a_tools_fee_that_is_no_amount_is_refused_when_the_policy_is_loaded():
    with pytest.raises(msgspec.ValidationError, match="web_search"):
        decode("tools: {web_search: -1}")


@pytest.mark.parametrize("value", ["0.01", Decimal("0.01"), 0.01])
def test_an_amount_in_code_is_a_fixed_price_per_call(value):
    price = price_option(value)
    assert isinstance(price, FixedPrice)
    assert price.cost(Usage(10**6, 10**6)) == price.ceiling(1, 1) == 10_000_000
    assert price.output_step(5) == 0


def test_a_mapping_in_code_is_a_price_per_million():
    price = price_option({"input": Decimal("0.15"), "output": "0.60"})
    assert price.cost(Usage(1_000_000, 1_000_000)) == 750_000_000


def test_a_function_in_code_computes_the_price_and_its_ceiling():
    price = price_option(lambda usage: Decimal(usage.tokens) / 1000)
    assert isinstance(price, ComputedPrice)
    assert price.cost(Usage(10, 5)) == 15_000_000
    assert price.ceiling(100, 50) == 150_000_000
    assert price.output_step(1) is None


def test_a_price_object_is_taken_as_it_is():
    price = FixedPrice(5)
    assert price_option(price) is price
    rule = PriceRule(input="1", output="2").price("m", source="policy")
    assert price_option(rule) is rule


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        math.nan,
        "free",
        [],
        {},
        {"input": -1},
        {"inptu": 1},
        {"output": 1},
        {"max_output_tokens": 5},
        object(),
    ],
)
def test_anything_else_is_no_price(value):
    with pytest.raises(InvalidAmount, match="price"):
        price_option(value)


def test_a_function_that_returns_no_amount_is_refused():
    with pytest.raises(InvalidAmount, match="the result of price="):
        price_option(lambda _: math.nan).cost(Usage(1, 1))
