"""What runs of a guard tell OpenTelemetry: each thing once, and nothing that only one run has."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def measured(guarded, reader):
    provider = MeterProvider(metric_readers=[reader])
    yield guarded(
        {"id": "tenant", "per": ["tenant"], "limits": {"cost": "1", "runs": 9}},
        options={"meter_provider": provider},
    )
    provider.shutdown()


def points(reader):
    """`(metric, attributes, value)` of everything."""
    return [
        (metric.name, dict(point.attributes), getattr(point, "value", getattr(point, "sum", 0)))
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def test_tokens_and_runs_are_counted_once_and_metadata_is_no_attribute(measured, reader):
    """The original counted both twice, and made an attribute of whatever the metadata held."""
    measured.on_run_start("r-unique", tenant="acme", metadata={"ticket": "T-7"})
    measured.before_model_call("r-unique", "big", messages="Hi", max_tokens=100)
    measured.after_model_call("r-unique", (1000, 100))
    measured.on_run_end("r-unique")
    found = points(reader)
    tokens = {
        attributes["type"]: value for name, attributes, value in found if name == "costscope.tokens" and value
    }
    assert (tokens["input"], tokens["output"]) == (1000, 100)
    runs = [value for name, _, value in found if name == "costscope.runs"]
    assert sum(runs) == 1
    said = " ".join(str(attributes) for _, attributes, _ in found)
    assert "acme" in said
    for private in ("r-unique", "ticket", "T-7"):
        assert private not in said
    measured.books.settle()
