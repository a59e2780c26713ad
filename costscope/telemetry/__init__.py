"""OpenTelemetry metrics of a scope: summed in integers while it runs, recorded once when it closes."""

from costscope.telemetry.recorder import DEFAULT_LABELS, Telemetry
from costscope.telemetry.totals import CallKind, CallOutcome, ScopeTotals, Settlement

__all__ = [
    "DEFAULT_LABELS",
    "CallKind",
    "CallOutcome",
    "ScopeTotals",
    "Settlement",
    "Telemetry",
]
