"""Amounts and instants as the tables show them; `--json` has them exact."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.money import NANO, currency

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

__all__ = ["counted", "exact", "instant", "json_text", "short_amount", "short_money"]

_WHOLE_ABOVE: Final = 1000 * NANO
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def short_money(nano: int) -> str:
    """Nano-units as a short decimal, rounded up as the ledger rounds: `0.0054`, `12.8000`, `1,234.57`.

    A column of them lines up; what is not zero never reads as zero.
    """
    step = Decimal("0.01") if abs(nano) >= _WHOLE_ABOVE else Decimal("0.0001")
    return f"{(Decimal(nano) / NANO).quantize(step, ROUND_CEILING):,}"


def short_amount(meter: str, amount: int) -> str:
    """An amount of a meter without its unit."""
    return short_money(amount) if meter == "cost" else f"{amount:,}"


def exact(meter: str, amount: int) -> Decimal | int:
    """An amount for JSON: `cost` in units of the currency with every digit, other meters as they are."""
    return currency(amount) if meter == "cost" else amount


def counted(number: int, noun: str) -> str:
    """`1 account`, `1,200 accounts`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def instant(moment: dt.datetime) -> str:
    """`2026-11-23 00:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"


def json_text(data: Mapping[str, object] | msgspec.Struct) -> str:
    """One JSON object on one line; a Decimal is written as the number it is."""
    return _encoder.encode(data).decode()
