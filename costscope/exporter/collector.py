"""The one custom collector that Prometheus' client library asks at every scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from costscope.exporter.reading import Reader
    from costscope.exporter.series import Family

__all__ = ["BudgetCollector"]


class BudgetCollector(Collector):
    """Hands what a reader finds to the client library. Without state, and so without stale series."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        """Every metric that has a sample."""
        return (_metric(family) for family in self._reader.families() if family.samples)


def _metric(family: Family) -> Metric:
    counts = family.kind == "counter"
    metric = (CounterMetricFamily if counts else GaugeMetricFamily)(family.name, family.help)
    name = f"{family.name}_total" if counts else family.name
    for values, value in family.samples:
        # a label without a value is the same to Prometheus as no label, and only makes lines longer
        labels = {label: text for label, text in zip(family.labels, values, strict=True) if text}
        metric.add_sample(name, labels, value)
    return metric
