"""`Usage` refuses what cannot be believed."""

import math
import pickle

import pytest

from costscope.errors import InvalidUsage
from costscope.pricing.usage.usage_fields import MAX_TOKENS, Usage

COUNTS = [
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "web_searches",
]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(
    "value",
    [
        -1,
        True,
        False,
        math.nan,
        math.inf,
        1.0,
        "5",
        None,
        MAX_TOKENS + 1,
        pytest.param(10**5000, id="5000 digits"),
        b"1",
        [1],
    ],
)
def test_no_count_is_anything_but_an_int_in_range(name, value):
    with pytest.raises(InvalidUsage, match=name):
        Usage(**{name: value})


@pytest.mark.parametrize(
    ("part", "total"),
    [
        ("cache_read_tokens", "input_tokens"),
        ("cache_write_tokens", "input_tokens"),
        ("cache_write_1h_tokens", "cache_write_tokens"),
        ("reasoning_tokens", "output_tokens"),
        ("input_audio_tokens", "input_tokens"),
        ("output_audio_tokens", "output_tokens"),
    ],
)
def test_a_part_is_never_larger_than_its_total(part, total):
    room = {"input_tokens": 100, "output_tokens": 100, total: 10}
    assert Usage(**{**room, part: 10})
    with pytest.raises(InvalidUsage, match=part):
        Usage(**{**room, part: 11})


def test_cached_parts_together_are_never_larger_than_the_input():
    assert Usage(10, 0, 4, 6)
    with pytest.raises(InvalidUsage, match="exceed input_tokens"):
        Usage(10, 0, 5, 6)


@pytest.mark.parametrize("cost", [-1, True, 2**53, 0.5, math.nan])
def test_a_cost_is_an_int_of_nano_units_within_the_ledger(cost):
    with pytest.raises(InvalidUsage, match="cost_nano"):
        Usage(1, 1, cost_nano=cost)


def test_tokens_are_input_and_output_together_and_a_usage_survives_pickling():
    usage = Usage(10, 5, 4, reasoning_tokens=3, model="m", tier="flex", cost_nano=7)
    assert usage.tokens == 15
    assert pickle.loads(pickle.dumps(usage)) == usage
