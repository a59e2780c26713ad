"""What the books say and where they are heading: the command line shows it, the exporter publishes it.

Everything here is computed from snapshots of a ledger; no I/O, no clock but that of the snapshot.
"""

from costscope.observe.reports.account_rows import AccountRow, MeterRow, account_rows, untouched_budgets
from costscope.observe.reports.forecast import BurnRates, Forecast, forecast

__all__ = [
    "AccountRow",
    "BurnRates",
    "Forecast",
    "MeterRow",
    "account_rows",
    "forecast",
    "untouched_budgets",
]
