"""Accounts as `--json` shows them."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger.meters import MONEY
from costscope.pricing.money import NANO, currency

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from costscope.observe.reports.account_rows import AccountRow, MeterRow


_WHOLE_ABOVE: Final = 1000 * NANO
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def short_money(nano: int) -> str:
    """Write nano-units as a short decimal, rounded up as the ledger rounds: `0.0054`, `12.8000`, `1,234.57`.

    A column of them lines up; what is not zero never reads as zero.
    """
    step = Decimal("0.01") if abs(nano) >= _WHOLE_ABOVE else Decimal("0.0001")
    return f"{(Decimal(nano) / NANO).quantize(step, ROUND_CEILING):,}"


def short_amount(meter: str, amount: int) -> str:
    """Write an amount of a meter without its unit."""
    return short_money(amount) if meter in MONEY else f"{amount:,}"


def exact_amount(meter: str, amount: int) -> Decimal | int:
    """Return an amount for JSON: `cost` in units of the currency with every digit, other meters as they are."""
    return currency(amount) if meter in MONEY else amount


def format_count(number: int, noun: str) -> str:
    """Write a number and its noun: `1 account`, `1,200 accounts`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def format_instant(moment: dt.datetime) -> str:
    """Write an instant: `2026-11-23 00:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"


def json_text(data: Mapping[str, object] | msgspec.Struct) -> str:
    """Write one JSON object on one line; a Decimal is written as the number it is."""
    return _encoder.encode(data).decode()


def as_data(row: AccountRow) -> dict[str, object]:
    """Return one account for `--json`: `cost` in units of the currency, every digit; other meters as counted."""
    return {
        "key": row.key,
        "budget": row.shown,
        "labels": row.labels,
        "period": row.period,
        "window_start": row.window_start,
        "resets_at": row.window_end,
        "halted": row.halted,
        "meters": {line.meter: _numbers(line) for line in row.meters},
    }


def _numbers(line: MeterRow) -> dict[str, object]:
    counters = line.counters
    left = None if line.limit is None else max(line.limit - counters.spent - counters.held, 0)
    amounts = {
        "limit": line.limit,
        "spent": counters.spent,
        "held": counters.held,
        "remaining": left,
        "presumed": counters.presumed,
    }
    return {
        name: None if value is None else exact_amount(line.meter, value) for name, value in amounts.items()
    }
