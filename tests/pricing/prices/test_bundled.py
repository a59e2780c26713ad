"""Prices taken from genai-prices: equal to its own Decimals, and safe where it is not."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costscope.errors import ModelUnpriced
from costscope.pricing.prices.book import PriceBook
from costscope.pricing.prices.bundled import BundledPrices
from costscope.pricing.usage.usage_fields import Usage

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAIN_KEYS = {
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "input_audio_mtok",
    "cache_audio_read_mtok",
    "output_audio_mtok",
    "output_reasoning_mtok",
    "requests_kcount",
    "web_searches_kcount",
    "storage_searches_kcount",
}


def theirs(usage, model, *, provider_id=None, at=AT, context=None):
    """The nano-USD that genai-prices computes for our usage, rounded up."""
    import genai_prices

    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )
    price = genai_prices.calc_price(
        counted, model, provider_id=provider_id, genai_request_timestamp=at, price_context=context
    )
    return int((price.total_price * Decimal(10**9)).to_integral_value(ROUND_CEILING))


@st.composite
def text_usages(draw):
    inputs, outputs = draw(st.integers(0, 1_200_000)), draw(st.integers(0, 100_000))
    read = draw(st.integers(0, inputs))
    write = draw(st.integers(0, inputs - read))
    return Usage(inputs, outputs, read, write, draw(st.integers(0, write)), draw(st.integers(0, outputs)))


def test_every_model_the_replaced_systems_name_has_a_price(book, named):
    assert [name for name in named if book.find(name, at=AT) is None] == []
    assert book.find("cerebras/llama-3.1-8b", at=AT) is None  # the one that genai-prices does not know


def test_the_whole_table_costs_what_genai_prices_says():
    """Every model of every provider, four usages and each of its tiers; equal, or dearer where parts are folded."""
    from genai_prices import data_snapshot

    usages = [
        Usage(1000, 200),
        Usage(1_000_003, 70_001, 300_007, 200_001, 0, 10_003),
        Usage(7, 1, 3),
        Usage(150_001, 3, 0, 150_001, 0),
    ]
    compared = refused = 0
    for provider in data_snapshot.get_snapshot().providers:
        for info in provider.models:
            quote = BundledPrices().find(info.id, provider=provider.id, at=AT)
            price = quote and quote.price
            found, matched = provider.find_model(info.id), info
            if price is None or found is not info:  # an id that another entry matches first
                refused += price is None
                continue
            contexts = [None, *(variant.when for variant in matched.price_variants or ())]
            for context in contexts:
                prices = {
                    key for key, value in vars(info.get_prices(AT, context)).items() if value is not None
                }
                tier = None if context is None else next(iter(context.values()))
                for usage in usages if price.has_output else [Usage(1000, 0)]:
                    counted = Usage(
                        *[getattr(usage, name) for name in usage.__struct_fields__[:6]], tier=tier
                    )
                    if context is not None and not {"processing", "service_tier", "speed"} & context.keys():
                        continue
                    ours, expected = (
                        price.cost(counted),
                        theirs(usage, info.id, provider_id=provider.id, context=context),
                    )
                    compared += 1
                    if prices <= PLAIN_KEYS:
                        assert ours == expected, (provider.id, info.id, context, usage)
                    else:
                        assert ours >= expected, (provider.id, info.id, context, usage)
    assert compared > 8000
    assert refused < 350


@settings(max_examples=300, deadline=None)
@given(data=st.data(), usage=text_usages())
def test_named_models_cost_what_genai_prices_says_for_any_usage(book, named, data, usage):
    name = data.draw(st.sampled_from(named))
    price = book.find(name, at=AT)
    expected = theirs(usage, name.rpartition("/")[2], provider_id=price.provider)
    if usage.cache_write_1h_tokens and "claude" in name:
        assert price.cost(usage) >= expected  # a price for an hour-long write that the table leaves out
    else:
        assert price.cost(usage) == expected


@settings(max_examples=300, deadline=None)
@given(data=st.data(), usage=text_usages(), more=st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
def test_no_usage_within_bounds_costs_more_than_the_ceiling(book, named, data, usage, more):
    price = book.find(data.draw(st.sampled_from(named)), at=AT)
    tier = data.draw(st.sampled_from([None, "default", "batch"]))
    asked = "default" if tier == "default" else None
    billed = Usage(*[getattr(usage, name) for name in usage.__struct_fields__[:6]], tier=tier)
    ceiling = price.ceiling(usage.input_tokens + more[0], usage.output_tokens + more[1], tier=asked)
    assert price.cost(billed) <= ceiling


def test_openai_may_use_the_projects_tier_unless_the_call_says_default(book):
    price = book.find("gpt-4o-mini", at=AT)
    assert price.dearest_rates(1000) == (250, 1000)  # priority
    assert price.dearest_rates(1000, tier="default") == (150, 600)
    assert price.dearest_rates(1000, tier="flex") == (150, 600)  # no flex price: falls back to standard
    assert price.dearest_rates(1000, tier="priority") == (250, 1000)
    assert price.cost(Usage(1000, 1000, tier="priority")) == 1_250_000


def test_a_call_that_asks_for_a_discount_may_be_billed_at_standard(book):
    price = book.find("o3", at=AT)
    assert price.cost(Usage(1000, 0, tier="flex")) == 1_000_000
    assert price.dearest_rates(1000, tier="flex") == (2000, 8000)


def test_a_tier_without_a_price_is_refused_and_never_the_standard_price(book):
    price = book.find("gpt-4o-mini", at=AT)
    with pytest.raises(ModelUnpriced, match="turbo"):
        price.cost(Usage(1, 1, tier="turbo"))
    with pytest.raises(ModelUnpriced, match="turbo"):
        price.dearest_rates(1, tier="turbo")


def test_a_discount_without_a_price_costs_standard_and_so_does_committed_capacity(book):
    assert book.find("gpt-4", at=AT).cost(Usage(10, 0, tier="flex")) == book.find("gpt-4", at=AT).cost(
        Usage(10, 0)
    )
    claude = book.find("claude-3-5-haiku-20241022", at=AT)
    assert claude.cost(Usage(10, 5, tier="priority")) == claude.cost(Usage(10, 5))
    assert claude.cost(Usage(10, 5, tier="standard")) == claude.cost(Usage(10, 5))


def test_vertex_traffic_types_are_tiers(book):
    price = book.find("gemini-1.5-pro", at=AT)
    assert price.cost(Usage(10, 5, tier="on_demand")) == price.cost(Usage(10, 5))
    with pytest.raises(ModelUnpriced):
        price.cost(Usage(10, 5, tier="on_demand_priority"))


def test_a_resold_model_has_no_variants_of_its_maker(book):
    assert book.find("azure/gpt-4o-mini", at=AT).cost(Usage(1000, 0, tier="batch")) == 150_000


def test_an_hour_long_write_costs_twice_the_input_where_the_list_leaves_it_out(book):
    price = book.find("anthropic.claude-3-5-sonnet-20241022-v2:0", at=AT)
    assert price.provider == "aws"
    assert price.cost(Usage(1000, 0, 0, 1000, 1000)) == 2 * price.cost(Usage(1000, 0))


def test_context_bands_are_cliffs(book):
    price = book.find("claude-sonnet-4-5", at=AT)
    assert price.cost(Usage(200_000, 0)) == 200_000 * 3000
    assert price.cost(Usage(200_001, 0)) == 200_001 * 6000
    assert price.trusted_window is None  # 200k in the list, with a band above 200k: out of date


def test_prices_change_at_a_date_and_by_the_hour_of_the_request():
    book = PriceBook()
    before, after = datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC), datetime(2025, 6, 10, tzinfo=UTC)
    assert book.find("o3", at=before).cost(Usage(1, 0)) == 10_000
    assert book.find("o3", at=after).cost(Usage(1, 0)) == 2_000
    night, day = datetime(2026, 1, 1, 0, 29, 59, tzinfo=UTC), datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    assert book.find("deepseek-chat", at=night).cost(Usage(1, 0)) == 135
    assert book.find("deepseek-chat", at=day).cost(Usage(1, 0)) == 270


@pytest.mark.parametrize("model", ["deepseek-chat", "o3", "gemini-3.8-flash", "gpt-4o-mini"])
def test_a_price_holds_until_the_moment_it_is_said_to(model):
    """Sampled every 7 minutes over days around a change: constant up to `until`, never past a change."""
    at = datetime(2026, 12, 31, 20, tzinfo=UTC)
    for _ in range(3):
        quote = BundledPrices().find(model, provider=None, at=at)
        price, until = quote.price, quote.until
        assert until > at
        if until - at > timedelta(days=30):
            break
        last = BundledPrices().find(model, provider=None, at=until - timedelta(seconds=1)).price
        assert last.cost(Usage(10**6, 10**6)) == price.cost(Usage(10**6, 10**6))
        at = until


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gpt-4o", "openai"),
        ("openai/gpt-4o", "openai"),
        ("gpt-4o-2024-08-06", "openai"),
        ("text-embedding-3-small", "openai"),
        ("azure/gpt-4o", "azure"),
        ("openrouter/openai/gpt-4o", "openrouter"),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "aws"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("bedrock/converse/us.anthropic.claude-3-haiku-20240307-v1:0", "aws"),
        ("vertex_ai/gemini-1.5-pro", "google"),
        ("gemini/gemini-2.0-flash", "google"),
        ("models/gemini-2.0-flash", "google"),
        ("projects/p/locations/l/publishers/google/models/gemini-2.5-pro", "google"),
        ("mistral/mistral-large-latest", "mistral"),
        ("groq/llama-3.3-70b-versatile", "groq"),
        ("GPT-4o", "openai"),
    ],
)
def test_names_are_understood_in_the_forms_people_write_them(book, name, provider):
    assert book.find(name, at=AT).provider == provider


def test_the_provider_may_be_given_in_any_spelling(book):
    assert book.find("gpt-4o", provider="azure_openai", at=AT).provider == "azure"
    assert book.find("openai/gpt-4o", provider="openai", at=AT).provider == "openai"
    assert book.find("gpt-4o", provider="nobody-knows", at=AT) is None


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-superduper",
        "ft:gpt-4o-mini:acme::abc",
        "my-own-model",
        "",
        "/",
        "o3-foo",
        "davinci",  # generates, but the list has no price for output
        "whisper-1",  # by the minute
        "mistral-ocr",  # by the page
        "mistral/voxtral-small-24b-2507",  # by the token and by the hour
        "x" * 10_000,
    ],
)
def test_a_model_without_a_reliable_price_has_none(book, name):
    assert book.find(name, at=AT) is None


def test_an_embedding_model_is_priced_and_must_make_no_output(book):
    price = book.find("text-embedding-3-small", at=AT)
    assert not price.has_output
    assert price.cost(Usage(1_000_000, 0)) == 20_000_000
    with pytest.raises(ModelUnpriced):
        price.cost(Usage(10, 1))


def test_searches_inside_a_call_are_priced_or_refused(book):
    assert book.find("claude-sonnet-4-5", at=AT).cost(Usage(0, 0, web_searches=3)) == 30_000_000
    with pytest.raises(ModelUnpriced, match="web searches"):
        book.find("deepseek-chat", at=AT).cost(Usage(0, 0, web_searches=1))


def test_a_fee_per_request_is_part_of_the_cost_and_of_the_ceiling(book):
    price = book.find("sonar", provider="perplexity", at=AT)
    assert price.per_call_nano > 0
    assert price.cost(Usage(0, 0)) == price.per_call_nano == price.ceiling(0, 0)


def test_an_amount_the_provider_sent_is_taken(book):
    assert book.find("gpt-4o", at=AT).cost(Usage(1000, 1000, cost_nano=7)) == 7
