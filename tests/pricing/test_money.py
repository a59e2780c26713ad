"""Money as integers: parsed strictly, rounded up, never lost."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.errors import InvalidAmount
from costscope.ledger import MAX_AMOUNT
from costscope.pricing.money import NANO, format_money, to_count, to_nano


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        ("0", 0),
        ("0.15", 150_000_000),
        (0.15, 150_000_000),
        (0.1, 100_000_000),
        (Decimal("0.15"), 150_000_000),
        (2, 2_000_000_000),
        ("2.00", 2_000_000_000),
        ("0.000000001", 1),
        ("0.0000000001", 1),
        ("0.1000000001", 100_000_001),
        (1e-10, 1),
        (0.1 + 0.2, 300_000_001),
        ("9007199.254740991", MAX_AMOUNT),
        (Decimal("9007199.254740991"), MAX_AMOUNT),
        ("0009.5", 9_500_000_000),
        (0.0, 0),
        (-0.0, 0),
        (Decimal("1E-3"), 1_000_000),
        (Decimal("-0"), 0),
    ],
)
def test_amounts_in_nano_units_rounded_up(amount, nano):
    assert to_nano(amount) == nano


BAD = [
    "", " ", "1 ", " 1", "-1", "+1", "1e3", "1E-3", "1_0", "0x10", ".5", "5.", "1,5", "1.2.3", "NaN", "nan", "inf", "Infinity", "-0",
    "\u0661\u0662", "\uff11", "\u00b2", "1\n", "1\0", "1e400", "9" * 17, "0." + "1" * 19, "9007199.254740992",
    float("nan"), float("inf"), float("-inf"), -1.0, 1e400, 1e300,
    -1, 2**53, 9_007_200, 10**400, -(10**400), True, False,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal(-1), Decimal("1e999"), Decimal("-Infinity"),
    None, b"1", [1], {"usd": 1}, 1j, Fraction(1, 2), object(),
]  # fmt: skip


@pytest.mark.parametrize(
    "amount",
    BAD,
    ids=lambda amount: (
        f"{type(amount).__name__}-{ascii(amount)[:20]}"
        if not isinstance(amount, int)
        else f"int-{str(amount)[:20]}"
    ),
)
def test_anything_else_is_refused_in_words_of_bounded_length(amount):
    with pytest.raises(InvalidAmount, match="max_cost") as refusal:
        to_nano(amount, what="max_cost")
    assert len(str(refusal.value)) < 300


def test_a_number_of_five_thousand_digits_is_refused_without_turning_it_into_text():
    """Python refuses to: 'Exceeds the limit for integer string conversion'."""
    for convert in (to_nano, to_count):
        for amount in (10**5000, -(10**5000)):
            with pytest.raises(InvalidAmount):
                convert(amount)


@given(st.decimals(min_value=0, max_value=9_007_199, places=12))
def test_rounding_never_loses_and_adds_less_than_one_unit(amount):
    nano = to_nano(amount)
    exact = amount * NANO
    assert exact <= nano < exact + 1
    assert nano == int(exact.to_integral_value(ROUND_CEILING))


@given(st.floats(min_value=0, max_value=9e6, allow_nan=False))
def test_a_float_means_its_shortest_text(amount):
    assert to_nano(amount) == math.ceil(
        Fraction(repr(amount) if "e" not in repr(amount) else Decimal(repr(amount))) * NANO
    )


@pytest.mark.parametrize("count", [0, 1, MAX_AMOUNT])
def test_counts(count):
    assert to_count(count) == count


@pytest.mark.parametrize("count", [-1, MAX_AMOUNT + 1, 1.0, "1", True, None, Decimal(1), float("nan"), b"1"])
def test_what_is_no_count_is_refused(count):
    with pytest.raises(InvalidAmount, match="max_tokens"):
        to_count(count, what="max_tokens")


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "USD 0.00"),
        (1, "USD 0.000000001"),
        (1_500_000_000, "USD 1.50"),
        (1_234_567_890_000_000, "USD 1,234,567.89"),
        (123_456_789, "USD 0.123456789"),
        (MAX_AMOUNT, "USD 9,007,199.254740991"),
        (-1_500_000_000, "USD -1.50"),
    ],
)
def test_money_is_shown_without_losing_a_digit(nano, text):
    assert format_money(nano) == text


def test_another_currency():
    assert format_money(1_000_000_000, "EUR") == "EUR 1.00"


@given(st.integers(min_value=0, max_value=MAX_AMOUNT))
def test_what_is_shown_is_what_is_parsed(nano):
    assert to_nano(format_money(nano).removeprefix("USD ").replace(",", "")) == nano
