"""The arithmetic of prices: exact, rounded up once, cliffs by context size."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.errors import ModelUnpriced
from costscope.pricing.prices.model_price import RateTable
from costscope.pricing.usage.usage_fields import Usage

RATES = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output",
    "reasoning",
    "output_audio",
)
fractions = st.fractions(min_value=0, max_value=10**6, max_denominator=10**6)
rate_sets = st.fixed_dictionaries(
    {"input": fractions, "output": fractions},
    optional={name: fractions for name in (*RATES, "cache_audio") if name not in ("input", "output")},
)


@st.composite
def usages(draw, max_input=2_000_000, max_output=200_000):
    inputs, outputs = draw(st.integers(0, max_input)), draw(st.integers(0, max_output))
    read = draw(st.integers(0, inputs))
    write = draw(st.integers(0, inputs - read))
    return Usage(
        inputs,
        outputs,
        read,
        write,
        draw(st.integers(0, write)),
        draw(st.integers(0, outputs)),
        draw(st.integers(0, inputs)),
        draw(st.integers(0, outputs)),
    )


def test_the_price_per_million_is_that_of_the_price_list():
    table = RateTable({-1: {"input": Fraction(150), "output": Fraction(600)}})
    assert table.cost(Usage(1_000_000, 1_000_000)) == 750_000_000


def test_a_part_of_a_nano_unit_is_rounded_up_once_for_the_whole_call():
    table = RateTable({-1: {"input": Fraction(1, 3), "output": Fraction(1, 3)}})
    assert table.cost(Usage(1, 0)) == 1
    assert table.cost(Usage(2, 1)) == 1
    assert table.cost(Usage(2, 2)) == 2
    assert table.cost(Usage(0, 0)) == 0


def test_each_part_has_its_own_rate():
    rates = {name: Fraction(10**power) for power, name in enumerate(RATES)}
    usage = Usage(15, 6, 2, 7, 3, 2, 5, 1)
    # 1 plain, 2 read, 4 written, 3 written for an hour, 5 audio; 3 plain, 2 reasoning, 1 audio
    assert (
        RateTable({-1: rates}).cost(usage) == 1 + 20 + 400 + 3_000 + 50_000 + 300_000 + 2_000_000 + 10_000_000
    )


def test_a_part_without_a_rate_costs_what_its_whole_does():
    table = RateTable({-1: {"input": Fraction(10), "output": Fraction(20)}})
    assert table.cost(Usage(100, 50, 30, 20, 10, 40, 5, 5)) == 2000
    written = RateTable({-1: {"input": Fraction(10), "output": Fraction(20), "cache_write": Fraction(12)}})
    assert written.cost(Usage(10, 0, 0, 10, 10)) == 120


def test_audio_that_may_have_been_cached_is_charged_as_the_dearer():
    rates = {"input": Fraction(1), "cache_read": Fraction(2), "input_audio": Fraction(100)}
    usage = Usage(10, 0, 10, input_audio_tokens=10)
    assert RateTable({-1: rates}).cost(usage) == 20
    assert RateTable({-1: {**rates, "cache_audio": Fraction(30)}}).cost(usage) == 300


def test_a_context_band_is_a_cliff_that_begins_after_its_start():
    table = RateTable({-1: {"input": Fraction(1)}, 200: {"input": Fraction(2)}, 400: {"input": Fraction(3)}})
    assert [table.cost(Usage(tokens)) for tokens in (0, 200, 201, 400, 401)] == [0, 200, 402, 800, 1203]
    assert [table.dearest_rates(tokens)[0] for tokens in (0, 200, 201, 400, 401)] == [1, 1, 2, 2, 3]


def test_the_dearest_rate_counts_the_lower_bands_too():
    table = RateTable({-1: {"input": Fraction(5)}, 200: {"input": Fraction(2)}})
    assert table.dearest_rates(1000)[0] == 5


def test_output_without_a_price_is_refused():
    table = RateTable({-1: {"input": Fraction(1)}})
    assert table.cost(Usage(10, 0)) == 10
    with pytest.raises(ModelUnpriced, match="never free"):
        table.cost(Usage(10, 1))


@given(rates=rate_sets, usage=usages())
def test_the_cost_is_the_exact_sum_rounded_up(rates, usage):
    plain, output = rates["input"], rates["output"]
    read, write, hour = usage.cache_read_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
    audio_in = min(usage.input_audio_tokens, usage.input_tokens - read - write)
    audio_out = min(usage.output_audio_tokens, usage.output_tokens - usage.reasoning_tokens)
    written = rates.get("cache_write", plain)
    audio_read = min(usage.input_audio_tokens, read)
    cached = rates.get("cache_read", plain)
    exact = (
        (usage.input_tokens - read - write - audio_in) * plain
        + (read - audio_read) * cached
        + audio_read * max(cached, rates.get("cache_audio", cached))
        + (write - hour) * written
        + hour * rates.get("cache_write_1h", written)
        + audio_in * rates.get("input_audio", plain)
        + (usage.output_tokens - usage.reasoning_tokens - audio_out) * output
        + usage.reasoning_tokens * rates.get("reasoning", output)
        + audio_out * rates.get("output_audio", output)
    )
    assert RateTable({-1: rates}).cost(usage) == ceil(exact)


@given(
    bands=st.dictionaries(st.integers(0, 1_000_000), rate_sets, max_size=3),
    base=rate_sets,
    usage=usages(),
    more=st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
)
def test_no_usage_costs_more_than_the_dearest_rates_allow(bands, base, usage, more):
    table = RateTable({-1: base, **bands})
    inputs, outputs = usage.input_tokens + more[0], usage.output_tokens + more[1]
    rate_in, rate_out = table.dearest_rates(inputs, audio=True)
    assert table.cost(usage) <= inputs * rate_in + outputs * rate_out
