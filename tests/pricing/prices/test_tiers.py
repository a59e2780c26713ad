"""Service tiers: what a call that states one may be billed at, and what the answer makes of it."""

from datetime import UTC, datetime
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costscope.errors import InvalidAmount, InvalidInput, ModelUnpriced
from costscope.pricing.prices.option import price_option
from costscope.pricing.prices.price_rules import PriceList, PriceRule
from costscope.pricing.prices.tiers import TierRates, asked_tiers, billed_usage, checked_tier, plain_name
from costscope.pricing.usage.usage_fields import Usage

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
MILLION = 1_000_000
STANDARDS = (
    "default",
    "standard",
    "standard_only",
    "scale",
    "on_demand",
    "provisioned_throughput",
    "reserved",
)

ANSWERS = {
    None: (None, *STANDARDS, "flex", "priority", "batch", "on_demand_flex", "on_demand_priority"),
    "auto": (None, *STANDARDS, "flex", "priority", "batch"),
    "default": (None, *STANDARDS),
    "standard_only": (None, *STANDARDS),
    "flex": (None, *STANDARDS, "flex", "on_demand_flex"),
    "priority": (None, *STANDARDS, "priority", "on_demand_priority"),
    "fast": (None, *STANDARDS, "fast", "priority"),
    "batch": (None, *STANDARDS, "batch", "flex"),
}
"""By what a call states: what the response to it may say."""


def rule(**given):
    return PriceRule(**({"input": "1", "output": "4"} | given))


def cost(price, usage, stated=None):
    return price.cost(billed_usage(usage, stated))


# --------------------------------------------------------------------------- a user's own


@pytest.mark.parametrize(
    ("tier", "factor", "expected"),
    [
        ("batch", "0.5", 500_000),
        ("flex", 0.25, 250_000),
        ("priority", "1.75", 1_750_000),
        ("fast", 6, 6_000_000),
    ],
)
def test_a_tier_may_be_a_factor_of_the_standard_rates(tier, factor, expected):
    price = rule(**{tier: factor}).price("m", source="policy")
    assert price.cost(Usage(1000, 0, tier=tier)) == expected
    assert price.cost(Usage(0, 1000, tier=tier)) == 4 * expected
    assert price.cost(Usage(1000, 0)) == price.cost(Usage(1000, 0, tier="default")) == MILLION


def test_a_tier_may_have_rates_of_its_own_and_what_they_leave_out_costs_what_its_whole_does():
    rules = msgspec.yaml.decode(
        "models: {m: {input: 1, cached_input: 0.1, output: 4, batch: {input: 0.4, output: 2, cached_input: 0.05}, "
        "flex: {input: 0.6, output: 3}}}",
        type=PriceList,
    )
    price = rules.models["m"].price("m", source="policy")
    assert price.cost(Usage(1000, 0, 500)) == 500_000 + 50_000
    assert price.cost(Usage(1000, 0, 500, tier="batch")) == 200_000 + 25_000
    assert price.cost(Usage(1000, 1000, tier="batch")) == 400_000 + 2_000_000
    assert price.cost(Usage(1000, 0, 500, tier="flex")) == 600_000, "cached input is input there"


def test_a_factor_holds_for_cached_input_and_cache_writes_too():
    price = rule(cache_read="0.1", cache_write="1.25", cache_write_1h="2", batch="0.5").price(
        "m", source="policy"
    )
    standard = Usage(1000, 0, 300, 500, 200)
    assert price.cost(standard) == 200_000 + 30_000 + 300 * 1250 + 200 * 2000
    assert price.cost(msgspec.structs.replace(standard, tier="batch")) * 2 == price.cost(standard)


def test_cached_input_is_another_name_for_cache_read():
    one, other = (
        rule(**{name: "0.1"}).price("m", source="policy") for name in ("cached_input", "cache_read")
    )
    assert one.cost(Usage(1000, 0, 1000)) == other.cost(Usage(1000, 0, 1000)) == 100_000
    with pytest.raises(msgspec.ValidationError, match="another name for cache_read"):
        msgspec.yaml.decode("{input: 1, cached_input: 1, cache_read: 1}", type=PriceRule)


def test_an_hour_long_write_without_a_rate_costs_what_a_write_does_and_a_write_what_input_does():
    assert rule().price("m", source="policy").cost(Usage(10, 0, 0, 10, 10)) == 10_000
    assert rule(cache_write="1.25").price("m", source="policy").cost(Usage(10, 0, 0, 10, 10)) == 12_500
    written = rule(cache_write="1.25", cache_write_1h="2").price("m", source="policy")
    assert written.cost(Usage(10, 0, 0, 10, 4)) == 6 * 1250 + 4 * 2000


def test_openais_two_words_for_its_fast_tier_have_one_price():
    """A call for `fast` is answered as `priority`."""
    for word in ("fast", "priority"):
        price = rule(**{word: 2}).price("gpt-x", source="policy")
        assert (
            price.cost(Usage(1000, 0, tier="fast"))
            == price.cost(Usage(1000, 0, tier="priority"))
            == 2_000_000
        )
    both = rule(fast=3, priority=2).price("gpt-x", source="policy")
    assert both.cost(Usage(1000, 0, tier="fast")) == 3_000_000
    assert both.dearest_rates(1, tier="fast") == (3000, 12_000)
    assert rule(fast=2, priority=3).price("gpt-x", source="policy").dearest_rates(1, tier="fast") == (
        3000,
        12_000,
    )


def test_anthropics_fast_mode_is_only_billed_where_it_was_asked_for():
    price = rule(fast=6).price("claude-x", source="policy")
    assert price.dearest_rates(1) == (1000, 4000)
    assert price.dearest_rates(1, tier="fast") == (6000, 24_000)
    with pytest.raises(ModelUnpriced, match="priority"):
        price.cost(Usage(1, 0, tier="priority"))


def test_a_call_that_states_no_tier_is_held_at_the_dearest_a_project_may_choose():
    price = rule(priority="1.5", flex="0.5").price("m", source="policy")
    assert (
        price.dearest_rates(1)
        == price.dearest_rates(1, tier="auto")
        == price.dearest_rates(1, tier="unspecified")
        == (1500, 6000)
    )
    assert price.dearest_rates(1, tier="default") == price.dearest_rates(1, tier="standard") == (1000, 4000)


def test_a_call_for_a_discount_is_held_at_standard_but_a_batch_at_its_own_price():
    price = rule(flex="0.5", batch="0.5").price("m", source="policy")
    assert price.dearest_rates(1, tier="flex") == (1000, 4000)
    assert price.dearest_rates(1, tier="batch") == (500, 2000)


def test_a_batch_that_is_dearer_bounds_calls_that_do_not_say():
    price = rule(batch=TierRates(input="2", output="8")).price("m", source="policy")
    assert price.dearest_rates(1) == (2000, 8000)
    assert price.dearest_rates(1, tier="default") == (1000, 4000)


@pytest.mark.parametrize(
    "given",
    [
        "batch: 1.01",
        "flex: 2",
        "priority: 0.9",
        "fast: 101",
        "batch: -1",
        "priority: .nan",
        "batch: {input: 1}",
        "batch: {output: 1}",
        "batch: {input: 1, output: 1, outptu: 1}",
        "batch: {input: 1, output: 1, cached_input: 1, cache_read: 1}",
        "batch: []",
        "ultrafast: 2",
    ],
)
def test_what_cannot_be_the_price_of_a_tier_is_refused_when_the_policy_is_loaded(given):
    with pytest.raises(msgspec.ValidationError, match=r"\$\.models"):
        msgspec.yaml.decode(f"models: {{m: {{input: 1, output: 4, {given}}}}}", type=PriceList)


def test_tiers_without_standard_rates_price_nothing():
    with pytest.raises(InvalidAmount, match="input: missing"):
        PriceRule(batch="0.5", max_output_tokens=100)


def test_a_price_in_code_has_tiers_as_well():
    price = price_option(
        {"input": "1", "output": "4", "batch": "0.5", "priority": {"input": "2", "output": "9"}}
    )
    assert price.cost(Usage(1000, 0, tier="batch")) == 500_000
    assert price.cost(Usage(0, 1000, tier="priority")) == 9_000_000


def test_a_computed_price_is_held_at_the_dearest_tier_that_may_be_billed():
    def by_tier(usage):
        return usage.tokens * (
            1 if usage.tier in (None, "standard") else 2 if usage.tier == "priority" else 0
        )

    price = price_option(by_tier)
    assert price.ceiling(10, 5) == 15 * 10**9
    assert price.ceiling(10, 5, tier="auto") == 15 * 10**9
    assert price.ceiling(10, 5, tier="flex") == 15 * 10**9, "it may fall back"
    assert price.ceiling(10, 5, tier="priority") == 30 * 10**9
    assert price.ceiling(10, 5, tier="batch") == 0


# ------------------------------------------------------------------------- which one counts


@pytest.mark.parametrize(
    ("stated", "reported", "billed"),
    [
        (None, None, None),
        (None, "priority", "priority"),
        ("flex", None, "flex"),
        ("flex", "default", "default"),  # the provider was short of it
        ("priority", "default", "default"),
        ("priority", None, "priority"),
        ("default", "default", "default"),
        ("batch", None, "batch"),
        ("batch", "default", "batch"),  # its responses do not know that they are a batch
        ("batch", "standard", "batch"),
        ("batch", "flex", "batch"),
        ("batch", "on_demand", "batch"),
        ("batch", "priority", "priority"),  # then it was none
        (None, "batch", "batch"),
    ],
)
def test_the_response_decides_except_that_a_batch_stays_one(stated, reported, billed):
    assert billed_usage(Usage(1, 1, tier=reported), stated) == Usage(1, 1, tier=billed)


def test_usage_that_says_its_tier_is_left_as_it_is():
    usage = Usage(1, 1, tier="flex")
    assert billed_usage(usage, "flex") is usage
    assert billed_usage(usage, None) is usage


def test_the_word_of_an_option_is_checked():
    assert checked_tier(None) is None
    assert checked_tier(" Batch ") == "batch"
    for wrong in ("", "  ", 5, True, ["batch"]):
        with pytest.raises(InvalidInput, match="name the tier"):
            checked_tier(wrong)


# -------------------------------------------------------------------- the bound, whatever comes


amounts = st.fractions(min_value=0, max_value=100, max_denominator=10**6).map(
    lambda value: f"{float(value):.6f}"
)


@st.composite
def own_rates(draw, kind=dict):
    names = ("cache_read", "cache_write", "cache_write_1h", "reasoning", "input_audio", "output_audio")
    chosen = draw(st.lists(st.sampled_from(names), unique=True))
    return kind(input=draw(amounts), output=draw(amounts), **{name: draw(amounts) for name in chosen})


@st.composite
def own_prices(draw):
    given = draw(own_rates())
    for tier, least, most in (("batch", 0, 1), ("flex", 0, 1), ("priority", 1, 100), ("fast", 1, 100)):
        factor = st.fractions(least, most, max_denominator=1000).map(lambda value: f"{float(value):.3f}")
        price = draw(st.none() | factor | own_rates(TierRates))
        if price is not None:
            given[tier] = price
    name = draw(st.sampled_from(["gpt-x", "claude-x"]))
    return PriceRule(**given).price(name, source="policy")


@st.composite
def usages(draw, inputs, outputs):
    used_in, used_out = draw(st.integers(0, inputs)), draw(st.integers(0, outputs))
    read = draw(st.integers(0, used_in))
    write = draw(st.integers(0, used_in - read))
    return Usage(
        used_in,
        used_out,
        read,
        write,
        draw(st.integers(0, write)),
        draw(st.integers(0, used_out)),
        draw(st.integers(0, used_in)),
        draw(st.integers(0, used_out)),
    )


def _holds(price, data, stated, reported):
    """Whatever the response says: it costs no more than was held, unless nothing is known of its tier."""
    inputs, outputs = data.draw(st.integers(0, 1_200_000)), data.draw(st.integers(0, 100_000))
    usage = data.draw(usages(inputs, outputs if price.has_output else 0))
    try:
        held = price.ceiling(inputs, outputs, tier=stated, audio=True)
    except ModelUnpriced:
        return False  # refused before it is made
    try:
        spent = cost(price, msgspec.structs.replace(usage, tier=reported), stated)
    except ModelUnpriced:
        return False  # the hold is charged
    assert spent <= held, (stated, reported, usage)
    return True


@settings(max_examples=150, deadline=None)
@given(data=st.data(), price=own_prices(), stated=st.sampled_from(list(ANSWERS)))
def test_no_answer_to_a_call_costs_more_than_was_held_at_a_users_own_price(data, price, stated):
    _holds(price, data, stated, data.draw(st.sampled_from(ANSWERS[stated])))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), stated=st.sampled_from(list(ANSWERS)))
def test_no_answer_to_a_call_costs_more_than_was_held_at_a_bundled_price(book, named, data, stated):
    price = book.find(data.draw(st.sampled_from([*named, "claude-opus-4-6", "gemini-3.8-flash"])), at=AT)
    _holds(price, data, stated, data.draw(st.sampled_from(ANSWERS[stated])))


def test_every_tier_that_the_table_prices_is_held_and_billed_at_its_price():
    """Over the whole table: the hold of a call that states a tier covers it, and no hold is below a batch's."""
    from genai_prices import data_snapshot

    from costscope.pricing.prices.bundled import BundledPrices

    checked = set()
    usage = Usage(150_001, 3_000, 100, 100_000, 50_000)
    for provider in data_snapshot.get_snapshot().providers:
        for info in provider.models:
            quote = BundledPrices().find(info.id, provider=provider.id, at=AT)
            price = quote and quote.price
            if price is None or not price.has_output:
                continue
            for variant in info.price_variants or ():
                (key, tier), *more = variant.when.items()
                if more or key not in {"service_tier", "processing", "speed"}:
                    continue
                spent = cost(price, msgspec.structs.replace(usage, tier=tier), tier)
                assert spent <= price.ceiling(150_001, 3_000, tier=tier), (info.id, tier)
                if tier in {"batch", "flex"}:
                    assert spent <= price.cost(usage), (info.id, tier)
                    assert spent <= price.ceiling(150_001, 3_000), (info.id, tier)
                checked.add((info.id, tier))
    assert len(checked) > 150
    assert {tier for _, tier in checked} >= {"batch", "flex", "priority", "fast"}


def test_the_dearest_rates_of_a_stated_tier_are_exact_in_fractions():
    price = rule(input="0.333333", priority="1.5").price("m", source="policy")
    exact = Fraction("333.333") * Fraction("1.5")
    assert price.dearest_rates(1, tier="priority")[0] == -(-exact.numerator // exact.denominator)


@pytest.mark.parametrize("stated", [name for name in ANSWERS if name is not None])
def test_the_names_of_vertex_mean_the_same(stated):
    assert plain_name(f"ON_DEMAND_{stated.upper()}") == stated
    assert asked_tiers(f"on_demand_{stated}") == asked_tiers(stated)
