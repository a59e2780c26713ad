"""Flushing what pushes its metrics, and leaving alone what waits to be scraped.

OpenTelemetry's Prometheus reader keeps what a flush hands it until the next scrape: that scrape then has every series
once for each flush, of which Prometheus takes the oldest value, and a program that nobody scrapes grows with each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.metrics import MeterProvider

__all__ = ["flush"]

_SCRAPED: Final = "opentelemetry.exporter.prometheus"


def flush(provider: MeterProvider, timeout_ms: float) -> None:
    """Have the provider's readers export, but not those that are scraped. The API's own providers have nothing to flush.

    Raises:
        Exception: whatever a reader raises.
    """
    # `force_flush` and the readers are not part of the API's MeterProvider, though every SDK has the first.
    readers = tuple(_readers(provider))
    if not any(map(_scraped, readers)):
        force_flush = getattr(provider, "force_flush", None)
        if force_flush is not None:
            force_flush(timeout_ms)
        return
    deadline = time.monotonic() + timeout_ms / 1000
    for reader in readers:
        left_ms = (deadline - time.monotonic()) * 1000
        if left_ms > 0 and not _scraped(reader):
            reader.force_flush(timeout_millis=left_ms)


def _readers(provider: object) -> Iterable[Any]:
    """Those of OpenTelemetry's SDK, which has no public name for them; of another SDK none are known."""
    found = getattr(provider, "_metric_readers", None)
    if found is None:  # older ones keep them elsewhere
        found = getattr(getattr(provider, "_sdk_config", None), "metric_readers", ())
    return found if isinstance(found, list | tuple | set | frozenset) else ()


def _scraped(reader: object) -> bool:
    return any(kind.__module__.startswith(_SCRAPED) for kind in type(reader).__mro__)
