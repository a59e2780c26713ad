"""Estimates: never below what a call within its bounds can cost, and cut to size where that is asked for."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costscope.errors import InvalidAmount, ModelUnpriced
from costscope.ledger.meters import MAX_AMOUNT
from costscope.pricing.estimate.amounts import Estimate, given_estimate, settled_amounts, tool_estimate
from costscope.pricing.estimate.arguments import CallShape, output_cap
from costscope.pricing.estimate.bound import CALL_SLACK
from costscope.pricing.estimate.model_call import (
    DEFAULT_OUTPUT_CAP,
    MIN_OUTPUT_TOKENS,
    estimate_call,
    model_estimate,
)
from costscope.pricing.prices.option import FixedPrice, price_option
from costscope.pricing.prices.price_rules import PriceRule
from costscope.pricing.usage.usage_fields import Usage

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
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
    "claude-sonnet-4-5",
]


@st.composite
def billed(draw, inputs, outputs):
    """Any usage of text within the bounds, cached and written and reasoned as the provider likes."""
    used_in, used_out = draw(st.integers(0, inputs)), draw(st.integers(0, outputs))
    read = draw(st.integers(0, used_in))
    write = draw(st.integers(0, used_in - read))
    tier = draw(st.sampled_from([None, "default", "batch", "flex", "auto"]))
    return Usage(
        used_in, used_out, read, write, draw(st.integers(0, write)), draw(st.integers(0, used_out)), tier=tier
    )


@pytest.mark.parametrize("mode", ["strict", "capped"])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_call_within_its_bounds_costs_more_than_was_held(book, mode, data):
    price = book.find(data.draw(st.sampled_from(NAMED)), at=AT)
    inputs, cap = data.draw(st.integers(0, 1_000_000)), data.draw(st.integers(0, 50_000))
    choices = data.draw(st.integers(1, 4))
    estimate = model_estimate(price, mode=mode, input_tokens=inputs, output_tokens=cap, choices=choices)
    units = data.draw(st.integers(estimate.units_min, estimate.units_max))
    granted = cap if mode == "strict" or not estimate.units_max else units
    held = {meter: amount + units * estimate.step.get(meter, 0) for meter, amount in estimate.amounts.items()}
    usage = data.draw(billed(inputs, granted * choices))
    for meter, amount in settled_amounts(price, usage).items():
        assert amount <= held[meter], meter


def test_a_strict_estimate_holds_all_of_the_call(price):
    estimate = model_estimate(price, input_tokens=1000, output_tokens=300, choices=2)
    assert estimate == Estimate(
        {
            "cost": 10_000 + 60_000,
            "tokens": 1600,
            "input_tokens": 1000,
            "output_tokens": 600,
            "model_calls": 1,
        }
    )
    assert estimate.cap_for(0) is None


def test_a_capped_estimate_holds_the_input_and_as_much_output_as_fits(price):
    estimate = model_estimate(price, mode="capped", input_tokens=1000, output_tokens=300, choices=2)
    assert estimate.amounts == {
        "cost": 10_000,
        "tokens": 1000,
        "input_tokens": 1000,
        "output_tokens": 0,
        "model_calls": 1,
    }
    assert estimate.step == {"cost": 200, "tokens": 2, "output_tokens": 2}
    assert (estimate.units_min, estimate.units_max) == (MIN_OUTPUT_TOKENS, 300)
    assert estimate.cap_for(123) == 123


def test_the_least_useful_output_is_no_more_than_was_asked_for(price):
    assert model_estimate(price, mode="capped", input_tokens=1, output_tokens=5).units_min == 5
    assert model_estimate(price, mode="capped", input_tokens=1, output_tokens=0).units_max == 0


def test_a_call_without_a_cap_gets_one_no_larger_than_the_model_makes(price):
    assert model_estimate(price, input_tokens=1, output_tokens=None).needs_cap == DEFAULT_OUTPUT_CAP
    assert (
        model_estimate(price, mode="capped", input_tokens=1, output_tokens=None).units_max
        == DEFAULT_OUTPUT_CAP
    )
    short = PriceRule(input=1, output=1, max_output_tokens=1000).price("m", source="policy")
    estimate = model_estimate(short, input_tokens=1, output_tokens=None)
    assert (estimate.needs_cap, estimate.amounts["output_tokens"]) == (1000, 1000)
    assert estimate.cap_for(0) == 1000


def test_a_call_that_can_be_given_no_cap_is_bounded_by_the_model_or_refused(price):
    longest = PriceRule(input=1, output=1, max_output_tokens=1000, context_window=9000).price(
        "m", source="policy"
    )
    assert (
        model_estimate(longest, input_tokens=1, output_tokens=None, can_cap=False).amounts["output_tokens"]
        == 1000
    )
    window = PriceRule(input=1, output=1, context_window=9000).price("m", source="policy")
    assert (
        model_estimate(window, input_tokens=1, output_tokens=None, can_cap=False).amounts["output_tokens"]
        == 9000
    )
    for mode in ("strict", "capped"):
        with pytest.raises(ModelUnpriced, match=r"no cap.*max_output_tokens.*estimate="):
            model_estimate(price, mode=mode, input_tokens=1, output_tokens=None, can_cap=False)


def test_a_model_without_output_holds_none():
    price = PriceRule(input=1).price("embedder", source="policy")
    for mode in ("strict", "capped"):
        estimate = model_estimate(price, mode=mode, input_tokens=10, output_tokens=None)
        assert (estimate.amounts["output_tokens"], estimate.amounts["cost"], estimate.units_max) == (
            0,
            10_000,
            0,
        )


def test_a_fixed_price_is_held_as_it_is_and_needs_no_bound():
    price = FixedPrice(5)
    assert model_estimate(price, input_tokens=10, output_tokens=20).amounts["cost"] == 5
    assert model_estimate(price, input_tokens=10, output_tokens=None).amounts["cost"] == 5
    capped = model_estimate(price, mode="capped", input_tokens=10, output_tokens=20)
    assert (capped.amounts["cost"], capped.step) == (5, {"tokens": 1, "output_tokens": 1})


def test_a_computed_price_is_held_in_full_in_either_mode():
    price = price_option(lambda usage: usage.output_tokens)
    estimate = model_estimate(price, mode="capped", input_tokens=10, output_tokens=20)
    assert (estimate.amounts["cost"], estimate.units_max) == (20_000_000_000, 0)


def test_a_tool_holds_its_fee_and_one_call():
    assert tool_estimate(FixedPrice(10)).amounts == {"cost": 10, "tool_calls": 1}


@pytest.mark.parametrize("mode", ["strict", "capped"])
def test_a_bound_beyond_the_ledger_is_refused(price, mode):
    with pytest.raises(InvalidAmount, match="more than a ledger can hold"):
        model_estimate(price, mode=mode, input_tokens=1, output_tokens=MAX_AMOUNT)


@pytest.mark.parametrize(
    ("value", "amounts"),
    [
        ("0.05", {"cost": 50_000_000, "model_calls": 1}),
        (0.05, {"cost": 50_000_000, "model_calls": 1}),
        ({"cost": "0.05", "tokens": 100}, {"cost": 50_000_000, "tokens": 100, "model_calls": 1}),
        ({"cost": 1, "model_calls": 3}, {"cost": 1_000_000_000, "model_calls": 3}),
        (Estimate({"cost": 1}), {"cost": 1}),
    ],
)
def test_a_users_own_estimate(value, amounts):
    held = given_estimate(value).amounts
    assert {meter: amount for meter, amount in held.items() if amount} == amounts


def test_what_an_estimate_leaves_out_is_held_at_nothing_so_that_it_is_settled():
    """A commit settles the meters of its hold: tokens that were not held at all would never be counted."""
    assert given_estimate("0.05").amounts.keys() == {
        "cost",
        "tokens",
        "input_tokens",
        "output_tokens",
        "model_calls",
    }


@pytest.mark.parametrize(
    "value", [None, True, -1, math.nan, "much", {"costs": 1}, {"tokens": 1.5}, {"cost": -1}, []]
)
def test_a_users_own_estimate_that_is_none(value):
    with pytest.raises(InvalidAmount, match="estimate"):
        given_estimate(value)


def ask(messages, *, model="m", max_tokens=None, **options): ...


SHAPE = CallShape(ask)
MESSAGES = [{"role": "user", "content": "x" * 300}]


def estimate_of(price, mode="strict", **kwargs):
    return estimate_call(SHAPE.bind((MESSAGES,), kwargs), price, model="m", mode=mode, shape=SHAPE)


def test_a_call_is_estimated_from_its_arguments(price):
    estimate = estimate_of(price, max_tokens=50)
    assert 300 + CALL_SLACK < estimate.amounts["input_tokens"] < 300 + CALL_SLACK + 200
    assert estimate.amounts["output_tokens"] == 50
    assert estimate.amounts["cost"] == 10 * estimate.amounts["input_tokens"] + 5000
    capped = estimate_of(price, mode="capped", max_tokens=50)
    assert (capped.units_max, capped.step["cost"]) == (50, 100)


def test_a_call_without_a_cap_gets_one_end_to_end(price):
    estimate = estimate_of(price)
    args, kwargs = SHAPE.with_cap((MESSAGES,), {}, estimate.cap_for(0))
    assert output_cap(SHAPE.bind(args, kwargs)) == DEFAULT_OUTPUT_CAP
    again = estimate_of(price, **kwargs)
    assert again.needs_cap is None
    assert again.amounts["output_tokens"] == estimate.amounts["output_tokens"]


def test_choices_multiply_the_output_and_a_prediction_adds_to_it(price):
    assert estimate_of(price, max_tokens=50, n=3).amounts["output_tokens"] == 150
    prediction = {"type": "content", "content": "y" * 100}
    assert estimate_of(price, max_tokens=50, prediction=prediction).amounts["output_tokens"] >= 150


def test_the_service_tier_of_the_call_decides_the_price(book):
    price = book.find("gpt-4o-mini", at=AT)
    usual = estimate_of(price, max_tokens=50).amounts["cost"]
    default = estimate_of(price, max_tokens=50, service_tier="default").amounts
    assert default["cost"] == 150 * default["input_tokens"] + 600 * 50 < usual
    with pytest.raises(ModelUnpriced, match="warp"):
        estimate_of(price, max_tokens=50, service_tier="warp")


def test_audio_is_priced_only_where_it_may_occur(book):
    price = book.find("gemini-2.0-flash", at=AT)
    text = estimate_of(price, max_tokens=50).amounts
    assert text["cost"] <= 200 * text["input_tokens"] + 400 * 50
    part = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA"}}]}
    audio = estimate_call({"messages": [part], "max_tokens": 50}, price, model="m").amounts
    assert audio["cost"] >= 700 * 1_000_000  # the whole window at the audio rate


@pytest.mark.parametrize(
    "extra",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"extra_body": {"previous_response_id": "resp_1"}},
        {"config": {"cached_content": "cachedContents/1"}},
        {"container": "container_1"},
    ],
)
def test_text_kept_by_the_provider_is_bounded_by_the_window_or_refused(price, extra):
    with pytest.raises(ModelUnpriced, match="context window"):
        estimate_of(price, max_tokens=50, **extra)
    known = PriceRule(input=1, output=1, context_window=100_000).price("m", source="policy")
    assert estimate_of(known, max_tokens=50, **extra).amounts["input_tokens"] == 100_000


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "web_search_20260209", "name": "web_search", "max_uses": 5}]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {"tools": [{"type": "mcp", "server_url": "x"}]},
        {"tools": [{"type": "something_new"}]},
        {"tools": [{"google_search": {}}]},
        {"config": {"tools": [{"code_execution": {}}]}},
        {"mcp_servers": [{"url": "x"}]},
        {"web_search_options": {"search_context_size": "low"}},
        {"extra_body": {"models": ["a", "b"]}},
        {"inference_geo": "us"},
        {"fallbacks": ["gpt-4o"]},
    ],
)
def test_what_nothing_in_the_call_bounds_is_refused_even_with_a_window(extra):
    price = PriceRule(input=1, output=1, context_window=100_000).price("m", source="policy")
    with pytest.raises(ModelUnpriced, match=r"bounded by nothing.*estimate="):
        estimate_of(price, max_tokens=50, **extra)


def test_gemini_tools_as_sdk_objects_are_recognised(price):
    from google.genai import types

    search = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())])
    with pytest.raises(ModelUnpriced, match="google_search"):
        estimate_of(price, max_tokens=50, config=search)
    own = types.Tool(function_declarations=[types.FunctionDeclaration(name="f", description="d" * 500)])
    amounts = estimate_of(price, max_tokens=50, config=types.GenerateContentConfig(tools=[own])).amounts
    assert amounts["input_tokens"] > 800 + CALL_SLACK


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "custom", "name": "x"}]},
        {"tools": None},
        {"conversation": [{"role": "user", "content": "hi"}]},
        {"prompt": "plain text"},
        {"previous_response_id": None},
        {"inference_geo": "global"},
    ],
)
def test_what_the_caller_runs_and_sends_itself_is_text(price, extra):
    assert estimate_of(price, max_tokens=50, **extra).amounts["input_tokens"] < 3000


def test_the_sdks_markers_for_left_out_arguments_are_nothing(price):
    from openai import NOT_GIVEN, omit

    for marker in (NOT_GIVEN, omit):
        estimate = estimate_of(
            price,
            max_tokens=marker,
            n=marker,
            tools=marker,
            previous_response_id=marker,
            service_tier=marker,
            mcp_servers=marker,
        )
        assert estimate.needs_cap == DEFAULT_OUTPUT_CAP


def test_what_was_used_is_settled_by_meter(price):
    assert settled_amounts(price, Usage(1000, 50)) == {
        "cost": 15_000,
        "tokens": 1050,
        "input_tokens": 1000,
        "output_tokens": 50,
        "model_calls": 1,
    }
