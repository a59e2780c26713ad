"""Service tiers of metered calls: held at what the call states, settled at what the response says."""

from __future__ import annotations

import pytest

import costscope
from costscope import BudgetExceeded, InvalidInput, ModelUnpriced, Usage, budget_scope, metered_model
from costscope.pricing.estimate.amounts import settled_amounts
from costscope.scope.runtime import services_of

PRICES = {
    "models": {
        "gpt-own": {
            "input": "1",
            "cached_input": "0.1",
            "cache_write": "1.25",
            "cache_write_1h": "2",
            "output": "4",
            "batch": "0.5",
            "flex": {"input": "0.6", "output": "2"},
            "priority": "2",
        }
    }
}
SENT, MADE = 1000, 500
STANDARD = SENT * 1000 + MADE * 4000


@pytest.fixture
def policy():
    return {"budgets": [{"id": "all", "limits": {"cost": "1000", "input_tokens": 10**9}}], "prices": PRICES}


@pytest.fixture
def spent_on(runtime, books, colour):
    """What one call costs, what was held for it (both in nano-units), and the input tokens that were held."""

    def run(*, reported=None, option=None, usage=None, **asked):
        seen = []
        answer = {"usage": usage or {"prompt_tokens": SENT, "completion_tokens": MADE}}
        if reported is not None:
            answer["service_tier"] = reported

        @metered_model("gpt-own", **({} if option is None else {"tier": option}), runtime=runtime)
        @colour.define
        def ask(prompt, max_tokens=MADE, **_):
            seen.extend((books.counters().held, books.counters(meter="input_tokens").held))
            return answer

        before = books.spent() if books.accounts() else 0
        with budget_scope(runtime=runtime):
            colour.run(ask, "x" * SENT, **asked)
        books.settle()
        return books.spent() - before, *seen

    return run


@pytest.mark.parametrize(
    ("asked", "option", "reported", "cost"),
    [
        ({}, None, None, STANDARD),
        ({}, None, "default", STANDARD),
        ({}, None, "priority", 2 * STANDARD),  # a project's setting
        ({"service_tier": "auto"}, None, "priority", 2 * STANDARD),
        ({"service_tier": "flex"}, None, "flex", SENT * 600 + MADE * 2000),
        ({"service_tier": "flex"}, None, None, SENT * 600 + MADE * 2000),
        ({"service_tier": "flex"}, None, "default", STANDARD),  # it fell back
        ({"service_tier": "priority"}, None, "priority", 2 * STANDARD),
        ({"service_tier": "fast"}, None, "priority", 2 * STANDARD),  # so OpenAI answers
        ({"service_tier": "priority"}, None, "default", STANDARD),
        ({"extra_body": {"service_tier": "priority"}}, None, None, 2 * STANDARD),
        ({"config": {"service_tier": "flex"}}, None, "standard", STANDARD),  # Gemini
        ({"serviceTier": {"type": "priority"}}, None, None, 2 * STANDARD),  # Bedrock
        ({}, "batch", None, STANDARD // 2),
        ({}, "batch", "default", STANDARD // 2),  # the lines of a batch do not know that they are in one
        ({}, "BATCH", "standard", STANDARD // 2),
        ({"service_tier": "auto"}, "batch", "default", STANDARD // 2),
        ({"service_tier": "default"}, "batch", "default", STANDARD),  # what is sent goes first
        ({}, "priority", None, 2 * STANDARD),
        ({}, None, "batch", STANDARD // 2),
    ],
)
def test_a_call_costs_what_the_response_says_else_what_the_call_states(
    spent_on, asked, option, reported, cost
):
    spent, held, _ = spent_on(reported=reported, option=option, **asked)
    assert spent == cost
    assert held >= spent, "the hold is a ceiling"


@pytest.mark.parametrize(
    ("asked", "option", "rates"),
    [
        ({}, None, (4000, 8000)),  # a cache write of an hour, at the priority that a project may set
        ({"service_tier": "default"}, None, (2000, 4000)),
        ({"service_tier": "flex"}, None, (2000, 4000)),  # it may fall back
        ({"service_tier": "priority"}, None, (4000, 8000)),
        ({}, "batch", (1000, 2000)),
        ({}, "standard", (2000, 4000)),
    ],
)
def test_a_call_holds_the_dearest_rates_of_the_tiers_it_may_be_billed_at(spent_on, asked, option, rates):
    _, held, tokens = spent_on(option=option, **asked)
    assert tokens > SENT
    assert held == tokens * rates[0] + MADE * rates[1]


def test_cached_input_and_writes_of_an_hour_are_priced_in_the_tier_of_the_call(spent_on):
    usage = {
        "input_tokens": 100,
        "output_tokens": 0,
        "cache_read_input_tokens": 400,
        "cache_creation_input_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
    }
    standard = 100 * 1000 + 400 * 100 + 300 * 1250 + 200 * 2000
    assert spent_on(usage=usage)[0] == standard
    assert spent_on(usage=usage, option="batch")[0] == standard // 2
    assert spent_on(usage=usage | {"service_tier": "batch"})[0] == standard // 2
    assert spent_on(usage=usage | {"service_tier": "priority"})[0] == 2 * standard


def test_a_tier_without_a_price_refuses_the_call_that_states_it(runtime, books, colour):
    @metered_model("gpt-own", tier="ultrafast", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=10):
        pytest.fail("it must not be made")

    with budget_scope(runtime=runtime), pytest.raises(ModelUnpriced, match="'ultrafast' has no price"):
        colour.run(ask, "x")


def test_a_tier_without_a_price_in_a_response_charges_the_hold(runtime, books, colour):
    @metered_model("gpt-own", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=MADE):
        held.append(books.counters().held)
        return {"service_tier": "warp", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    held = []
    with budget_scope(runtime=runtime), pytest.warns(costscope.UsageWarning, match="'warp' has no price"):
        colour.run(ask, "x")
    books.settle()
    assert [books.spent()] == held


def test_a_stream_is_settled_at_the_tier_it_says(runtime, books, colour):
    last = {"choices": [], "service_tier": "priority", "usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    @metered_model("gpt-own", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=MADE, service_tier="auto"):
        yield {"choices": [{"index": 0, "finish_reason": "stop"}], "service_tier": "priority"}
        yield last

    async def read(items):
        return [item async for item in items]

    with budget_scope(runtime=runtime):
        if colour.name == "sync":
            list(ask("x"))
        else:
            colour.run(lambda: read(ask("x")))
    books.settle()
    assert books.spent() == 2 * (10 * 1000 + 5 * 4000)


def test_a_capped_call_cuts_its_output_by_the_rates_of_its_tier(runtime, colour):
    caps = {}

    @colour.define
    def body(prompt, max_tokens, service_tier="auto"):
        caps[service_tier] = max_tokens
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    ask = metered_model("gpt-own", estimate="capped", runtime=runtime)(body)
    for tier in ("default", "priority"):
        with budget_scope(max_cost="0.01", runtime=runtime):
            colour.run(ask, "x", max_tokens=100_000, service_tier=tier)
    assert 0 < 2 * caps["priority"] <= caps["default"]


def test_a_reservation_states_its_tier(runtime, books, colour):
    def hold_of(tier, usage):
        given = {"model": "gpt-own", "input_tokens": SENT, "max_output_tokens": MADE, "tier": tier}

        def enter(hold):
            hold.commit(usage)
            return hold.held["cost"]

        async def asynchronous():
            async with costscope.reserve(**given, runtime=runtime) as hold:
                return enter(hold)

        if colour.name == "async":
            return colour.run(asynchronous)
        with costscope.reserve(**given, runtime=runtime) as hold:
            return enter(hold)

    with budget_scope(runtime=runtime):
        assert hold_of("batch", (SENT, MADE)) == SENT * 1000 + MADE * 2000
        books.settle()
        assert books.spent() == STANDARD // 2
        assert hold_of(None, Usage(SENT, MADE, tier="priority")) == SENT * 4000 + MADE * 8000
        assert books.spent() == STANDARD // 2 + 2 * STANDARD
        assert hold_of(
            "batch", {"usage": {"prompt_tokens": SENT, "completion_tokens": MADE}, "service_tier": "default"}
        )
        assert books.spent() == STANDARD + 2 * STANDARD
    books.settle()


def test_a_preview_knows_the_tier(runtime):
    with budget_scope(runtime=runtime) as scope:
        asked = {"model": "gpt-own", "input_tokens": SENT, "max_output_tokens": MADE}
        batch = scope.preview(**asked, tier="batch").requested["cost"]
        assert scope.preview(**asked, tier="default").requested["cost"] == 2 * batch


@pytest.mark.parametrize("wrong", ["", " ", 5, ["batch"]])
def test_what_is_no_tier_is_refused_at_once(runtime, wrong):
    with pytest.raises(InvalidInput, match="name the tier"):
        metered_model("gpt-own", tier=wrong)
    with pytest.raises(InvalidInput, match="name the tier"):
        costscope.reserve(model="gpt-own", tier=wrong, runtime=runtime)


def test_a_function_that_computes_its_price_is_told_the_tier_that_is_billed(runtime, books, colour):
    def price(usage):
        return "0.01" if usage.tier == "batch" else "0.02"

    @metered_model("m", price=price, tier="batch", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=10):
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "service_tier": "default"}

    with budget_scope(runtime=runtime):
        colour.run(ask, "x")
    books.settle()
    assert books.spent() == 10_000_000


def test_a_batch_that_fits_only_at_its_own_price_is_admitted(runtime, colour):
    """Its hold is not the standard's: half the money is enough."""
    asked = {"prompt": "x" * SENT, "max_tokens": MADE}

    @colour.define
    def body(prompt, max_tokens, **_):
        return {"usage": {"prompt_tokens": SENT, "completion_tokens": MADE}}

    for tier, fits in (("batch", True), ("default", False)):
        ask = metered_model("gpt-own", tier=tier, runtime=runtime)(body)
        with budget_scope(max_cost="0.0033", runtime=runtime):
            if fits:
                colour.run(ask, **asked)
            else:
                with pytest.raises(BudgetExceeded):
                    colour.run(ask, **asked)


def test_settled_is_what_a_price_says_of_the_tier_in_the_usage(runtime):
    price = services_of(runtime).prices.require("gpt-own")
    assert settled_amounts(price, Usage(SENT, MADE, tier="batch"))["cost"] == STANDARD // 2
