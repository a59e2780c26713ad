"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.errors import InvalidAmount
from costscope.ledger.times import MAX_DURATION_MS
from costscope.policy.explain.budget_text import format_duration
from costscope.policy.model.durations import to_ms


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("250ms", 250),
        ("1d2h3m4s5ms", 93_784_005),
        ("1.5h", 5_400_000),
        ("0.0001s", 1),
        ("90", 90_000),
        (90, 90_000),
        (0.25, 250),
        (0.1, 100),
        ("0s", 0),
        (0, 0),
    ],
)
def test_what_is_one(text, milliseconds):
    assert to_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "-1s",
        "30m1h",
        "1h1h",
        "1 h",
        "1hour",
        "1H",
        "1e3",
        "NaN",
        "٣s",
        "1s\n",
        ".5s",
        "1..5s",
        None,
        True,
        -1,
        float("nan"),
        float("inf"),
        "10001d",
        10**30,
        "9" * 5000,
    ],
)
def test_what_is_none(text):
    with pytest.raises(InvalidAmount) as caught:
        to_ms(text, what="max_wait")
    assert str(caught.value).startswith("max_wait: ")
    assert len(str(caught.value)) < 200


@given(st.integers(0, MAX_DURATION_MS // 1000))
def test_a_number_means_what_its_text_means(seconds):
    assert to_ms(seconds) == to_ms(str(seconds)) == to_ms(f"{seconds}s") == seconds * 1000


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0s"),
        (250, "250ms"),
        (90_000, "1m 30s"),
        (5_400_000, "1h 30m"),
        (86_400_000, "1d"),
        (93_784_005, "1d 2h"),
        (3_605_000, "1h"),
    ],
)
def test_words(milliseconds, words):
    assert format_duration(milliseconds) == words
