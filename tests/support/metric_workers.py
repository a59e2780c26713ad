"""Worker processes that set up OpenTelemetry as they begin, spend, and end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader

import costscope
from costscope import budget_scope, metered_tool

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

__all__ = ["exported", "provide", "set_up", "spend", "spend_and_wait", "spend_unscoped"]


class FileExporter(MetricExporter):
    """Writes what things cost so far, a line for each export, into a file of this process."""

    def __init__(self, folder: str, takes_s: float) -> None:
        super().__init__()
        self._path, self._takes_s = Path(folder) / f"{os.getpid()}.jsonl", takes_s

    def export(self, metrics_data: Any, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        """As a collector that answers late."""
        time.sleep(self._takes_s)
        found = [
            point.value
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == "costscope.cost"
            for point in metric.data.data_points
        ]
        with self._path.open("a") as file:
            file.write(json.dumps(sum(found)) + "\n")
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        """There is nothing to give back."""


def exported(folder: Path) -> dict[str, float]:
    """What each process has exported as its last word."""
    return {path.stem: json.loads(path.read_text().splitlines()[-1]) for path in folder.glob("*.jsonl")}


def set_up(folder: str, takes_s: float, **options: Any) -> None:
    """As the initializer of a pool does it."""
    provide(folder, takes_s)
    costscope.configure(store="memory://", **options)


def provide(folder: str, takes_s: float = 0.0) -> None:
    """Set the provider of this process, which exports nothing by the clock."""
    reader = PeriodicExportingMetricReader(FileExporter(folder, takes_s), export_interval_millis=3_600_000)
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))


def spend(times: int = 1) -> None:
    """So many scopes with a call of 0.01 each."""
    tool = metered_tool("t", price="0.01")(lambda: None)
    for _ in range(times):
        with budget_scope(tenant="acme"):
            tool()


def spend_unscoped(folder: str, takes_s: float) -> None:
    """A whole process: one call outside every scope."""
    set_up(folder, takes_s, unscoped="allow")
    metered_tool("t", price="0.01")(lambda: None)()


def spend_and_wait(folder: str, ready: Event) -> None:
    """A whole process that is told to end by SIGTERM, and ends as a program does that wants to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    set_up(folder, 0.0)
    spend()
    deadline = time.monotonic() + 30
    while not exported(Path(folder)) and time.monotonic() < deadline:
        time.sleep(0.005)
    spend()  # within a second of the flush before: it waits
    ready.set()
    time.sleep(90)
