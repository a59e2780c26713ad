"""docs/metrics.md says what is recorded, and where each metric of the replaced systems went."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from costscope.observe.events import records
from costscope.observe.exporter.series import families
from costscope.observe.telemetry.metrics import CURRENCY, METRICS
from costscope.observe.telemetry.recorder import DEFAULT_LABELS
from costscope.observe.telemetry.totals import ScopeTotals
from costscope.pricing.usage.usage_fields import Usage

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]

STRANDS = [
    "genai.cost.total",
    "genai.cost.model",
    "genai.cost.tool",
    "genai.tokens.input",
    "genai.tokens.output",
    "genai.agent.iterations",
    "genai.agent.tool_calls",
    "genai.cost.downgrade_events",
    "genai.cost.rejection_events",
]
HIVE = [
    "hive_runs_total",
    "hive_runs_active",
    "hive_run_duration_seconds",
    "hive_cost_per_run_usd",
    "hive_tokens_input_total",
    "hive_tokens_output_total",
    "hive_tokens_cache_write_total",
    "hive_tokens_cache_read_total",
    "hive_estimated_cost_usd_total",
    "hive_burn_rate_tokens_per_min",
    "hive_runaway_detected_total",
    "hive_budget_alerts_total",
    "hive_budget_threshold_percentage",
    "hive_nodes_executed_total",
    "hive_node_latency_seconds",
    "hive_node_retries_total",
    "hive_tool_calls_total",
    "hive_tool_latency_seconds",
]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def everything(telemetry, measured):
    """The metrics of one of everything that can happen."""
    now, labels = datetime(2026, 11, 25, tzinfo=UTC), {"tenant": "acme", "workflow": "w", "run": "r-1"}

    def happened(record_type, /, **fields):
        telemetry.events.count(getattr(records, record_type)(id="0" * 32, at=now, labels=labels, **fields))

    outer, inner = ScopeTotals(), ScopeTotals()
    inner.add_call("model", "m", "error", 1, Usage(9, 9, 1, 1, 0, 1), 0.5)
    inner.add_call("model", "m", "ok", 1, None, 0.5, committed=True)
    inner.add_settlement("late", 5)
    inner.add_settlement("presumed")
    inner.add_denial("exhausted", "b", "cost", "model")
    telemetry.record(labels, inner, parent=outer, duration_seconds=1.0, outcome="ok")
    outside = telemetry.endless_totals()
    outside.add_call("tool", "t", "ok", 1)
    telemetry.record({}, outside)
    limit = {"budget": "b", "meter": "cost"}
    numbers = {"spent": 8, "held": 0, "limit": 10}
    window = {"remaining": 2, "window_start": None, "window_end": None}
    happened("ThresholdCrossed", threshold=80.0, actions=("log",), **limit, **numbers, **window)
    happened("CallRefused", what="run", name="r", kind="exhausted", reason="", **limit)
    happened("CallRefused", what="model", name="m", kind="exhausted", reason="", enforced=False, **limit)
    happened("CallDegraded", what="model", name="m", **limit, **numbers)
    happened("Downgraded", asked="a", effective="b", reason="route x", saved=5)
    happened("RunawayDetected", run="r-1", reason="failures", detail="", measured=3.0, allowed=3.0)
    happened("RunStarted", run="r-1")
    happened("RunEnded", run="r-1", status="completed", iterations=3, seconds=1.0, cost=5)
    happened("AccountReset", budget="b", reason="x", forgiven={})
    happened("PolicyReloaded", source="x", accepted=True)
    return measured.metrics()


def test_every_line_of_the_table_is_recorded_and_nothing_else(everything):
    assert everything.keys() == {metric.name for metric in METRICS.values()}


def test_units_and_kinds_are_those_of_the_table(everything):
    kinds = {"counter": "Sum", "up-down counter": "Sum", "histogram": "Histogram"}
    for metric in METRICS.values():
        found = everything[metric.name]
        assert found.unit == metric.unit.replace(CURRENCY, "{USD}")
        assert type(found.data).__name__ == kinds[metric.kind]
        assert getattr(found.data, "is_monotonic", True) is (metric.kind != "up-down counter")


def test_attributes_are_those_of_the_table(everything):
    for metric in METRICS.values():
        for point in everything[metric.name].data.data_points:
            assert point.attributes.keys() <= {*metric.attributes, *DEFAULT_LABELS}, metric.name
        seen = {name for point in everything[metric.name].data.data_points for name in point.attributes}
        assert set(metric.attributes) <= seen, f"{metric.name} never has {set(metric.attributes) - seen}"


def test_the_page_has_the_table():
    written = [
        (names(name)[0], kind, names(unit)[0], tuple(names(attributes)))
        for name, kind, unit, attributes, _ in (row for row in ROWS if len(row) == 5)
        if name.startswith("`")
    ]
    assert written == [
        (metric.name, metric.kind, metric.unit.replace(CURRENCY, "{USD}"), metric.attributes)
        for metric in METRICS.values()
    ]


def test_every_attribute_is_explained():
    explained = {name for row in ROWS if len(row) == 2 for name in names(row[0])}
    assert {name for metric in METRICS.values() for name in metric.attributes} <= explained


@pytest.mark.parametrize("originals", [STRANDS, HIVE], ids=["strands-costguard", "hive-finops"])
def test_every_metric_of_an_original_has_a_name_here_that_exists(originals):
    rows = {names(row[0])[0]: row[1] for row in ROWS if len(row) == 2 and names(row[0])}
    assert [name for name in originals if name not in rows] == []
    ours = {metric.name for metric in METRICS.values()} | {family.name for family in families([], ())}
    for original in originals:
        assert names(rows[original])[0] in ours, f"{original} is said to be {rows[original]}"
