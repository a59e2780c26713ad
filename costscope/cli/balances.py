"""Accounts as `--json` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.cli.amounts import exact

if TYPE_CHECKING:
    from costscope.reports import AccountRow, MeterRow

__all__ = ["as_data"]


def as_data(row: AccountRow) -> dict[str, object]:
    """One account for `--json`: `cost` in units of the currency, every digit; other meters as counted."""
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
    return {name: None if value is None else exact(line.meter, value) for name, value in amounts.items()}
