"""Flushing a meter provider soon, in the background, however slow its endpoint is.

`force_flush(500)` against a dead collector took 7 s, so no caller ever waits for one. Requests coalesce: at
most one flush runs and one is pending, and two flushes start at least `interval` seconds apart.
"""

from __future__ import annotations

import logging
import os
import time
from contextvars import Context
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import MeterProvider


_IDLE_SECONDS: Final = 5.0
"""After this long without a request the thread ends, so that a forgotten runtime leaves none behind."""

_log = logging.getLogger("costscope.telemetry")


class Flusher:
    """Runs `flush` in a daemon thread that is started by the first request.

    Args:
        flush: does the work and may block; what it raises is logged.
        interval: seconds between the starts of two flushes, so that a service whose outermost scopes are
            short does not export without pause.
    """

    def __init__(self, flush: Callable[[], object], *, interval: float = 1.0) -> None:
        self._flush = flush
        self._interval = interval
        # Condition's lock is re-entrant: a signal handler may close a scope while this thread holds it.
        self._changed = Condition()
        self._thread: Thread | None = None
        self._pending = False
        self._closed = False
        _flushers.add(self)

    def request(self) -> None:
        """Have a flush start soon that sees everything recorded before this line. Never blocks, never raises."""
        if self._pending:  # it has not begun: what was recorded before this line is in it
            return
        with self._changed:
            if self._closed:
                return
            self._pending = True
            if self._thread is not None:
                self._changed.notify_all()
                return
            # An empty context: the flush's own requests must not run in, or be charged to, a caller's scope.
            thread = Thread(target=Context().run, args=(self._run,), name="costscope-flush", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no new threads at interpreter exit; the SDK flushes there by itself
                self._closed = True
            else:
                self._thread = thread

    def close(self, timeout: float) -> bool:
        """Take no more requests, run the pending flush without waiting for the interval, and end the thread.

        Args:
            timeout: seconds to wait at most; a flush that takes longer is left to the daemon thread.

        Returns:
            Whether everything asked for has been flushed.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        not_before = time.monotonic()
        while self._wait(not_before):
            not_before = time.monotonic() + self._interval
            try:
                self._flush()
            except Exception:  # noqa: BLE001 - metrics report on the books: a broken exporter stops nothing
                _log.warning("flushing the metrics failed", exc_info=True)

    def _wait(self, not_before: float) -> bool:
        """Wait until a requested flush may start; False when this thread should end instead."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._pending or self._closed, _IDLE_SECONDS):
                self._thread = None
                return False
            self._changed.wait_for(lambda: self._closed, max(0.0, not_before - time.monotonic()))
            asked, self._pending = self._pending, False
            if not asked:
                self._thread = None
            return asked

    def restart_in_child(self) -> None:
        """Forget the parent's thread, which did not survive the fork, and its lock, which may be taken."""
        self._changed = Condition()
        self._thread = None
        self._pending = False


_flushers: WeakSet[Flusher] = WeakSet()


def _after_fork() -> None:
    for flusher in _flushers:
        flusher.restart_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)

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
