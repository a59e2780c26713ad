"""A real OpenTelemetry SDK with a reader in memory."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from costscope.observe.telemetry.recorder import Telemetry


class Measured:
    """A meter provider and what it has been told so far."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self.reader])

    def metrics(self):
        data = self.reader.get_metrics_data()
        found = [
            metric
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        assert len({metric.name for metric in found}) == len(found), "an instrument was made twice"
        return {metric.name: metric for metric in found}

    def points(self, name):
        """Data points of one metric, keyed by their attributes."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric else []
        return {frozenset(point.attributes.items()): point for point in points}

    def values(self, name):
        return {attributes: point.value for attributes, point in self.points(name).items()}


@pytest.fixture
def measured():
    measured = Measured()
    yield measured
    measured.provider.shutdown()


@pytest.fixture
def telemetry(measured):
    telemetry = Telemetry(measured.provider, flush_interval=0.0)
    yield telemetry
    assert telemetry.close(timeout=10), "the flush thread did not end"
