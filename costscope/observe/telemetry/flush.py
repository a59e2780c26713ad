"""Flushing a meter provider soon, in the background, however slow its endpoint is.

`force_flush(500)` against a dead collector took 7 s, so no caller ever waits for one. Requests coalesce: at
most one flush runs and one is pending, and two flushes start at least `interval` seconds apart.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from costscope.background.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import MeterProvider


_log = logging.getLogger("costscope.telemetry")


class Flusher:
    """Runs `flush` in the background, from the first request on.

    Args:
        flush: does the work and may block; what it raises is logged.
        interval: seconds between the starts of two flushes, so that a service whose outermost scopes are
            short does not export without pause.
    """

    def __init__(self, flush: Callable[[], object], *, interval: float = 1.0) -> None:
        self._flush = flush
        self._interval = interval
        self._not_before_s = 0.0
        self._pending = False
        self._closed = False
        self._worker = Worker(self._run, "costscope-flush")

    def request(self) -> None:
        """Have a flush start soon that sees everything recorded before this line. Never blocks, never raises."""
        if self._pending or self._closed:  # it has not begun: what was recorded before this line is in it
            return
        self._pending = True
        self._worker.wake()

    def close(self, timeout: float) -> bool:
        """Take no more requests, run the pending flush without waiting for the interval, and end the thread.

        Args:
            timeout: seconds to wait at most; a flush that takes longer is left to the daemon thread.

        Returns:
            Whether everything asked for has been flushed.
        """
        self._closed = True
        deadline = time.monotonic() + timeout
        if (self._pending or not self._worker.idle) and not self._worker.drain(timeout):
            return False
        self._worker.stop(max(0.0, deadline - time.monotonic()))
        return True

    def restart_in_child(self) -> None:
        """Forget what was asked for before the fork: the parent flushes it."""
        self._pending = False
        self._worker.restart_in_child()

    def _run(self) -> None:
        while self._pending:
            self._worker.pause(self._not_before_s - time.monotonic())
            self._not_before_s = time.monotonic() + self._interval
            self._pending = False
            try:
                self._flush()
            except Exception:  # noqa: BLE001 - metrics report on the books: a broken exporter stops nothing
                _log.warning("flushing the metrics failed", exc_info=True)


_SCRAPED: Final = "opentelemetry.exporter.prometheus"


def flush(provider: MeterProvider, timeout_ms: float) -> None:
    """Have the provider's readers export, but not those that are scraped. The API's own providers have nothing to flush.

    Raises:
        Exception: what a reader raises.
    """
    # `force_flush` and the readers are not part of the API's MeterProvider, though every SDK has the first.
    readers = tuple(_readers(provider))
    if not any(map(_is_scraped, readers)):
        force_flush = getattr(provider, "force_flush", None)
        if force_flush is not None:
            force_flush(timeout_ms)
        return
    deadline = time.monotonic() + timeout_ms / 1000
    for reader in readers:
        left_ms = (deadline - time.monotonic()) * 1000
        if left_ms > 0 and not _is_scraped(reader):
            reader.force_flush(timeout_millis=left_ms)


def _readers(provider: object) -> Iterable[Any]:
    """Find the readers of OpenTelemetry's SDK, which has no public name for them; of another SDK none are known."""
    found = getattr(provider, "_metric_readers", None)
    if found is None:  # older ones keep them elsewhere
        found = getattr(getattr(provider, "_sdk_config", None), "metric_readers", ())
    return found if isinstance(found, list | tuple | set | frozenset) else ()


def _is_scraped(reader: object) -> bool:
    return any(kind.__module__.startswith(_SCRAPED) for kind in type(reader).__mro__)
