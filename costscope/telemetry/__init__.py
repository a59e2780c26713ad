"""OpenTelemetry metrics and spans.

Scopes are summed in integers while they run and recorded when they close; what is rare is counted as it happens.
"""

from costscope.telemetry.metrics import METRICS, Metric
from costscope.telemetry.recorder import DEFAULT_LABELS, Telemetry
from costscope.telemetry.spans import SpanHandle, Spans
from costscope.telemetry.sums import CallKind, CallOutcome, Refused, Settlement, Sums
from costscope.telemetry.totals import EndlessTotals, ScopeTotals

__all__ = [
    "DEFAULT_LABELS",
    "METRICS",
    "CallKind",
    "CallOutcome",
    "EndlessTotals",
    "Metric",
    "Refused",
    "ScopeTotals",
    "Settlement",
    "SpanHandle",
    "Spans",
    "Sums",
    "Telemetry",
]
