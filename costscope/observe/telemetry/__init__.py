"""OpenTelemetry metrics and spans.

Scopes are summed in integers while they run and recorded when they close; what is rare is counted as it happens.
"""

from costscope.observe.telemetry.metrics import METRICS, Metric
from costscope.observe.telemetry.recorder import DEFAULT_LABELS, Telemetry
from costscope.observe.telemetry.spans import SpanHandle, Spans
from costscope.observe.telemetry.totals import (
    CallKind,
    CallOutcome,
    EndlessTotals,
    Refused,
    ScopeTotals,
    Settlement,
    Sums,
)

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
