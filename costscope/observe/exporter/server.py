"""Serving the metrics over HTTP until the server is closed."""

from __future__ import annotations

import errno
import socket
import threading
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from costscope.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from costscope.observe.exporter.reading import Reader
    from costscope.observe.exporter.series import Family


class BudgetCollector(Collector):
    """Hands what a reader finds to the client library. Without state, and so without stale series."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        """Return every metric that has a sample."""
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


DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 9464
"""The port that OpenTelemetry gave to its Prometheus exporters; 9090 is that of Prometheus itself."""


class ExporterServer:
    """Answers scrapes in threads of its own, from when it is made.

    Args:
        reader: looks into the store.
        host: the address to listen on.
        port: 0 takes any that is free.

    Raises:
        InvalidInput: another program has the port, or it cannot be had.
    """

    def __init__(self, reader: Reader, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(BudgetCollector(reader))
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = make_server(host, port, make_wsgi_app(registry), kind, _Handler)
        except (OSError, OverflowError) as error:
            raise InvalidInput(_refusal(host, port, error)) from error
        self._host = host
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="costscope-metrics", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """What to name in Prometheus' configuration."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Take no more scrapes; one that is being answered is not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingWSGIServer):
    allow_reuse_port = False  # or a second exporter would silently get every other scrape of the first


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10
    """Seconds that a client may be silent."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parameter it overrides
        """Say nothing: a scrape every few seconds is no news."""


def _refusal(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken by another program: stop it, or choose another with --port (0: any free one)"
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return f"port {port} of {host} may not be used by this user: choose one above 1023 with --port"
    return f"cannot listen on port {port} of {host} ({error}): --host is an address of this machine, --port 0 to 65535"
