"""Money as integers: nano-units of the currency, parsed strictly and always rounded up.

USD 0.15 per million tokens is 150 nano-USD per token, so every price in use is an integer or close to one,
and a sum of integers never drifts the way a sum of floats does.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

from costscope.errors import InvalidAmount
from costscope.ledger.meters import MAX_AMOUNT, MONEY

NANO: Final = 1_000_000_000
"""Nano-units in one unit of the currency."""

_SHOWN_BITS: Final = 200

MoneyLike = str | int | Decimal | float
"""`"0.15"`, `Decimal("0.15")`, `2`, or a finite float such as `0.15`, in units of the currency (USD)."""

_DECIMAL_TEXT: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,18})?", re.ASCII)


def to_nano(amount: MoneyLike, *, what: str = "amount") -> int:
    """Convert an amount to nano-units, rounded up.

    Args:
        amount: a decimal text, an int, a Decimal or a finite float, in units of the currency.
        what: the name of the value, for the error message.

    Raises:
        InvalidAmount: negative, NaN, infinite, a bool, other text, or above 9,007,199.254740991.
    """
    decimal = _decimal(amount, what)
    nano = int((decimal * NANO).to_integral_value(rounding=ROUND_CEILING))
    if nano > MAX_AMOUNT:
        msg = f"{what}: {amount!r} is above the largest amount, {format_money(MAX_AMOUNT)}; use a smaller limit or split the budget"
        raise InvalidAmount(msg)
    return nano


def to_count(amount: object, *, what: str = "amount") -> int:
    """Check a count (tokens, calls): an int between 0 and 2^53-1.

    Raises:
        InvalidAmount: not an int, a bool, negative or above 2^53-1.
    """
    if isinstance(amount, bool) or not isinstance(amount, int):
        msg = f"{what}: {amount!r} is not a whole number; give an int from 0 to {MAX_AMOUNT}"
        raise InvalidAmount(msg)
    if not 0 <= amount <= MAX_AMOUNT:
        shown = repr(amount) if amount.bit_length() < _SHOWN_BITS else "a huge number"
        msg = f"{what}: {shown} is outside 0 to {MAX_AMOUNT} (2^53-1)"
        raise InvalidAmount(msg)
    return amount


def format_money(nano: int, currency: str = "USD") -> str:
    """Write `1_500_000_000` as `USD 1.50`: at least two decimals, no digit lost, no rounding."""
    sign = "-" if nano < 0 else ""
    whole, fraction = divmod(abs(nano), NANO)
    decimals = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{currency} {sign}{whole:,}.{decimals}"


def format_amount(meter: str, amount: int) -> str:
    """Write an amount with its unit: `USD 0.50`, `300 tokens`, `1 model call`."""
    if meter in MONEY:
        return format_money(amount)
    unit = meter.replace("_", " ")
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"


def currency(nano: int) -> Decimal:
    """Convert nano-units to an exact Decimal in units of the currency: at least two decimals, none lost."""
    exact = (Decimal(nano) / NANO).normalize()
    exponent = exact.as_tuple().exponent
    return exact if isinstance(exponent, int) and exponent < -1 else exact.quantize(Decimal("0.01"))


def _decimal(amount: object, what: str) -> Decimal:
    problem = ""
    if isinstance(amount, bool):
        problem = "is a bool"
    elif isinstance(amount, str):
        if _DECIMAL_TEXT.fullmatch(amount):
            return Decimal(amount)
        problem = "is not a plain decimal number"
    elif isinstance(amount, int):
        if 0 <= amount <= MAX_AMOUNT:
            return Decimal(amount)
        problem = "is negative" if amount < 0 else "is above 9,007,199.254740991"
    elif isinstance(amount, float | Decimal):
        # repr gives the shortest text that means this float: 0.1 is 0.1, not 0.1000000000000000055
        decimal = Decimal(repr(amount)) if isinstance(amount, float) else amount
        if decimal.is_finite() and 0 <= decimal <= MAX_AMOUNT:
            return decimal
        problem = "is not finite" if not decimal.is_finite() else "is out of range"
    else:
        problem = f"is a {type(amount).__name__}"
    shown = repr(amount)[:60] if not isinstance(amount, int) or abs(amount) < 10**60 else "a huge int"
    msg = f'{what}: {shown} {problem}; give a non-negative amount such as "0.15", Decimal("0.15") or 2, at most 9007199.254740991'
    raise InvalidAmount(msg)
