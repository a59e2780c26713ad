"""Recording a scope's sums as OpenTelemetry metrics when it closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.money import NANO
from costscope.telemetry.attributes import AttributeGuard, Attributes
from costscope.telemetry.flush import Flusher
from costscope.telemetry.instruments import Instruments, instruments_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opentelemetry.metrics import MeterProvider

    from costscope.telemetry.totals import CallSum, ScopeTotals, Sums

__all__ = ["DEFAULT_LABELS", "Telemetry"]

DEFAULT_LABELS: Final = ("tenant", "workflow")
"""The labels that become metric attributes unless a runtime lists others."""

_FLUSH_MS: Final = 10_000
_TOKEN_TYPES: Final = ("input", "output", "cache_read", "cache_write", "reasoning")


class Telemetry:
    """The metrics of one runtime.

    Args:
        provider: where the metrics go; by default OpenTelemetry's global provider, also one that is set later.
        allowed_labels: scope labels that may become attributes. Run ids may not.
        flush_interval: seconds between the starts of two flushes.

    Raises:
        InvalidLabel: `allowed_labels` names a run id or one of costscope's own attributes.
    """

    def __init__(
        self,
        provider: MeterProvider | None = None,
        *,
        allowed_labels: Collection[str] = DEFAULT_LABELS,
        flush_interval: float = 1.0,
    ) -> None:
        self._given = provider
        self._guard = AttributeGuard(allowed_labels)
        self._flusher = Flusher(self._force_flush, interval=flush_interval)
        self._instruments: Instruments | None = None

    def record(
        self,
        labels: Mapping[str, str],
        totals: ScopeTotals,
        *,
        parent: ScopeTotals | None = None,
        duration_seconds: float | None = None,
    ) -> None:
        """Add what a scope did to the metrics. Does not block and does no I/O.

        Call it when the scope closes, and again without a duration when something arrives later.

        Args:
            labels: all labels of the scope, the inherited ones included.
            totals: its sums; they are taken, so recording twice counts nothing twice.
            parent: the sums of the enclosing scope, which are told what this one cost.
            duration_seconds: how long the scope was open: records it in the histograms too.
        """
        # The proxy that stands in for a global provider not set yet passes its instruments on to the real one.
        if self._instruments is None:
            self._instruments = instruments_for(self._provider())
        instruments = self._instruments
        attributes = self._guard.labels(labels)
        sums = totals.take()
        self._record_sums(instruments, attributes, sums)
        if parent is not None and sums.scope_cost_nano:
            parent.nested(sums.scope_cost_nano)
        if duration_seconds is not None:
            attributes = {**attributes, "scope": self._guard.level(labels)}
            instruments.scope_cost.record(sums.scope_cost_nano / NANO, attributes)
            instruments.scope_duration.record(duration_seconds, attributes)

    def flush_soon(self) -> None:
        """Flush the provider in the background; call it when the outermost scope closes. Never blocks."""
        if hasattr(self._provider(), "force_flush"):  # the API's own providers have none: nothing to start
            self._flusher.request()

    def close(self, timeout: float = 2.0) -> bool:
        """Finish the requested flushes, waiting at most `timeout` seconds; say whether they are done."""
        return self._flusher.close(timeout)

    def _provider(self) -> MeterProvider:
        if self._given is not None:
            return self._given
        from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415 - 9 ms that the first scope pays

        return get_meter_provider()

    def _force_flush(self) -> None:
        # Not part of the API's MeterProvider, though every SDK has it.
        force_flush = getattr(self._provider(), "force_flush", None)
        if force_flush is not None:
            force_flush(_FLUSH_MS)

    def _record_sums(self, instruments: Instruments, labels: Attributes, sums: Sums) -> None:
        guard = self._guard
        for (kind, name, outcome), row in sums.calls.items():
            attributes = {**labels, "kind": kind, "name": guard.value("name", name)}
            instruments.calls.add(row.calls, {**attributes, "outcome": outcome})
            instruments.cost.add(row.cost_nano / NANO, attributes)
            _record_tokens(instruments, attributes, row)
        for (denial, budget, meter), count in sums.denials.items():
            attributes = {**labels, "kind": denial}
            if budget is not None:
                attributes["budget"] = guard.value("budget", budget)
            if meter is not None:
                attributes["meter"] = guard.value("meter", meter)
            instruments.denials.add(count, attributes)
        for settlement, count in sums.settlements.items():
            instruments.reservations.add(count, {**labels, "outcome": settlement})
        if sums.overrun_nano:
            instruments.overruns.add(sums.overrun_nano / NANO, labels)


def _record_tokens(instruments: Instruments, attributes: Attributes, row: CallSum) -> None:
    counts = (row.input, row.output, row.cache_read, row.cache_write, row.reasoning)
    for token_type, count in zip(_TOKEN_TYPES, counts, strict=True):
        if count:
            instruments.tokens.add(count, {**attributes, "type": token_type})
