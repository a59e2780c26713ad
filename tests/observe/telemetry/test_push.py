"""A flush is for readers that push: one that is scraped would answer with every series once for each flush."""

from collections import Counter

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from costscope import Runtime, budget_scope, metered_tool
from costscope.observe.telemetry.flush import flush

pytest.importorskip("opentelemetry.exporter.prometheus")


@pytest.fixture
def scraped():
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry, generate_latest

    class Scraped(PrometheusMetricReader):  # a subclass is none that pushes
        def __init__(self):
            self.registry = CollectorRegistry()
            super().__init__(registry=self.registry)

        def scrape(self):
            """How often each series of ours is in one scrape."""
            lines = generate_latest(self.registry).decode().splitlines()
            return Counter(line.rsplit(" ", 1)[0] for line in lines if line.startswith("costscope_"))

    return Scraped()


class Pushing(InMemoryMetricReader):
    def __init__(self, trouble=None):
        super().__init__()
        self.flushes, self.trouble = [], trouble

    def force_flush(self, timeout_millis=10_000):
        self.flushes.append(timeout_millis)
        if self.trouble is not None:
            raise self.trouble
        return True


def work(provider, times=3):
    """Leave some outermost scopes, each flushed before the next is opened."""
    for _ in range(times):
        with Runtime(store="memory://", meter_provider=provider) as runtime:
            tool = metered_tool("search", price="0.01", runtime=runtime)(lambda: None)
            with budget_scope(tenant="acme", runtime=runtime):
                tool()


def test_a_scrape_has_every_series_once_however_many_scopes_were_left_before(scraped):
    provider = MeterProvider(metric_readers=[scraped])
    work(provider)
    found = scraped.scrape()
    assert any("costscope_calls_total{" in series for series in found)
    assert set(found.values()) == {1}
    provider.shutdown()


def test_what_nobody_scrapes_does_not_grow(scraped):
    provider = MeterProvider(metric_readers=[scraped])
    work(provider, 5)
    assert len(scraped._collector._metrics_datas) == 0
    provider.shutdown()


def test_a_reader_that_pushes_beside_one_that_is_scraped_is_flushed(scraped):
    pushing = Pushing()
    provider = MeterProvider(metric_readers=[scraped, pushing])
    work(provider, 2)
    assert len(pushing.flushes) == 2
    assert set(scraped.scrape().values()) == {1}
    provider.shutdown()


def test_what_a_reader_raises_is_raised(scraped):
    provider = MeterProvider(metric_readers=[scraped, Pushing(OSError("the collector is away"))])
    with pytest.raises(OSError, match="away"):
        flush(provider, 1000)
    provider.shutdown()


def test_no_reader_is_flushed_once_the_time_is_over(scraped):
    pushing = Pushing()
    provider = MeterProvider(metric_readers=[scraped, pushing])
    flush(provider, 0)
    assert pushing.flushes == []
    provider.shutdown()


def test_readers_that_nobody_knows_are_left_to_their_provider():
    asked = []

    class Foreign:
        _metric_readers = "of another SDK"

        def force_flush(self, timeout_ms):
            asked.append(timeout_ms)

    flush(Foreign(), 500)
    flush(object(), 500)
    assert asked == [500]
