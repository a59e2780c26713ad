"""Recording a scope's sums as OpenTelemetry metrics when it closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.background.worker import CLOSING_S, register
from costscope.observe.telemetry.attributes import AttributeGuard
from costscope.observe.telemetry.call_durations import Backlog, record_durations
from costscope.observe.telemetry.event_metrics import EventMetrics
from costscope.observe.telemetry.flush import Flusher, flush
from costscope.observe.telemetry.metrics import Meters
from costscope.observe.telemetry.totals import EndlessTotals
from costscope.pricing.money import NANO

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from opentelemetry.metrics import MeterProvider

    from costscope.observe.telemetry.attributes import Attributes
    from costscope.observe.telemetry.metrics import Instruments
    from costscope.observe.telemetry.totals import CallOutcome, CallSum, ScopeTotals, Sums

DEFAULT_LABELS: Final = ("tenant", "workflow")
"""The labels that become metric attributes unless a runtime lists others."""

_FLUSH_MS: Final = 10_000
_AT_ONCE: Final = 32
"""Durations recorded as the scope closes (7 us each); those of a scope with more calls go to the background."""
_TOKEN_TYPES: Final = ("input", "output", "cache_read", "cache_write", "reasoning")


class Telemetry:
    """The metrics of one runtime.

    Args:
        provider: where the metrics go; by default OpenTelemetry's global provider, also one that is set later.
        allowed_labels: scope labels that may become attributes. Run ids may not.
        currency: what amounts are in: the unit of the metrics of cost.
        flush_interval: seconds between the starts of two flushes.

    Raises:
        InvalidLabel: `allowed_labels` names a run id or one of costscope's own attributes.
    """

    def __init__(
        self,
        provider: MeterProvider | None = None,
        *,
        allowed_labels: Collection[str] = DEFAULT_LABELS,
        currency: str = "USD",
        flush_interval: float = 1.0,
    ) -> None:
        self._meters = Meters(provider, currency)
        self._guard = AttributeGuard(allowed_labels)
        self.events = EventMetrics(self._guard, self._meters)
        """Counts what is rare as it happens: a sink for the event stream."""
        self._backlog = Backlog(self._record_endless)
        self._endless: list[EndlessTotals] = []
        self._flusher = Flusher(self._run_in_background, interval=flush_interval)
        self._export = False
        """The next flush is to export."""
        self._unexported = False
        """Something was recorded since the last one that did."""
        register(self, "export")

    def record(
        self,
        labels: Mapping[str, str],
        totals: ScopeTotals,
        *,
        parent: ScopeTotals | None = None,
        duration_seconds: float | None = None,
        outcome: CallOutcome | None = None,
    ) -> Sums:
        """Add what a scope did to the metrics. Does not block and does no I/O.

        Call it when the scope closes, and again without a duration when something arrives later.

        Args:
            labels: all labels of the scope, the inherited ones included.
            totals: its sums; they are taken, so recording twice counts nothing twice.
            parent: the sums of the enclosing scope, to which the cost of this one is added.
            duration_seconds: how long the scope was open: records it in the histograms too.
            outcome: `error` if it was left by an exception; None where that is not known.

        Returns:
            What was taken.
        """
        instruments = self._meters.made or self._meters.instruments()
        attributes = self._guard.attributes(labels)
        level = self._guard.level(labels) if duration_seconds is not None else ""
        sums = totals.take()
        if not sums.is_empty:
            self._record_sums(instruments, attributes, sums)
            if type(totals) is EndlessTotals:
                _record_unscoped(instruments, attributes, sums)
        if parent is not None and sums.scope_cost_nano:
            parent.add_nested_cost(sums.scope_cost_nano)
        if duration_seconds is not None:
            if parent is not None and (outcome == "error" or (outcome is not None and parent.has_failed)):
                what = tuple(f"{name}={value}" for name, value in labels.items())
                if parent.add_attempt(what, outcome):
                    instruments.retries.add(1, {**attributes, "kind": "scope", "name": level})
            # A new dict: the SDK keeps those it was given.
            attributes = {**attributes, "scope": level}
            if outcome is not None:
                attributes["outcome"] = outcome
            instruments.scope_cost.record(sums.scope_cost_nano / NANO, attributes)
            instruments.scope_duration.record(duration_seconds, attributes)
        self._unexported = True
        return sums

    def count_presumed(self, holds: int) -> None:
        """Count holds that this process has found past their lease and presumed lost."""
        if holds > 0:
            self._meters.instruments().presumed.add(holds)
            self._unexported = True

    def endless_totals(self) -> EndlessTotals:
        """Make sums for the calls outside every scope: recorded in the background, soon after each call.

        Without an SDK they wait for `record`.
        """
        totals = EndlessTotals(self._record_soon)
        self._endless.append(totals)
        return totals

    def flush_soon(self) -> None:
        """Flush the provider in the background; call it when the outermost scope closes. Never blocks."""
        if self._has_sdk():
            self._export = True
            self._flusher.request()

    def close(self, timeout: float = CLOSING_S) -> bool:
        """Flush what is recorded and end the thread, waiting at most `timeout` seconds.

        Returns:
            Whether it is done.
        """
        if (self._unexported or self.events.unexported) and not self._export:
            self.flush_soon()
        return self._flusher.close(timeout)

    def restart_in_child(self) -> None:
        """Flush nothing of the parent's after a fork."""
        self._export = self._unexported = self.events.unexported = False
        self._flusher.restart_in_child()

    # ------------------------------------------------------------------- background

    def _record_soon(self) -> None:
        if self._has_sdk():
            self._unexported = True
            self._backlog.expect()
            self._flusher.request()

    def _record_endless(self) -> None:
        for totals in self._endless:
            self.record({}, totals)

    def _run_in_background(self) -> None:
        self._backlog.drain()
        export, self._export = self._export, False
        if export:
            self._unexported = self.events.unexported = False
            flush(self._meters.provider(), _FLUSH_MS)

    # --------------------------------------------------------------------- details

    def _has_sdk(self) -> bool:
        provider = self._meters.given
        if provider is None:
            from opentelemetry.metrics import get_meter_provider  # noqa: PLC0415 - as `Meters.provider`

            provider = get_meter_provider()
        return hasattr(provider, "force_flush")  # the API's own providers have none: nothing to start

    def _record_sums(self, instruments: Instruments, labels: Attributes, sums: Sums) -> None:
        guard = self._guard
        self._record_calls(instruments, labels, sums)
        for (kind, name), count in sums.retries.items():
            instruments.retries.add(count, {**labels, "kind": kind, "name": guard.value("name", name)})
        for (denial, budget, meter, what), count in sums.denials.items():
            attributes = {**labels, "kind": denial, **guard.attributes({}, budget=budget, meter=meter)}
            if what is not None:
                attributes["what"] = what
            instruments.denials.add(count, attributes)
        for settlement, count in sums.settlements.items():
            if settlement == "presumed":  # not settled yet
                instruments.presumed.add(count, labels)
            else:
                instruments.reservations.add(count, {**labels, "outcome": settlement})
        if sums.overrun_nano:
            instruments.overruns.add(sums.overrun_nano / NANO, labels)

    def _record_calls(self, instruments: Instruments, labels: Attributes, sums: Sums) -> None:
        at_once = _AT_ONCE
        for (kind, name, outcome), row in sums.calls.items():
            attributes = {**labels, "kind": kind, "name": self._guard.value("name", name)}
            by_outcome = {**attributes, "outcome": outcome}
            instruments.calls.add(row.calls, by_outcome)
            instruments.cost.add(row.cost_nano / NANO, attributes)
            _record_tokens(instruments, attributes, row)
            if not row.durations:
                continue
            at_once -= len(row.durations)
            if at_once >= 0:
                record_durations(instruments.call_duration, by_outcome, row.durations)
            elif self._has_sdk():
                self._backlog.put(instruments.call_duration, by_outcome, row.durations)
                self._flusher.request()


def _record_tokens(instruments: Instruments, attributes: Attributes, row: CallSum) -> None:
    counts = (row.input, row.output, row.cache_read, row.cache_write, row.reasoning)
    for token_type, count in zip(_TOKEN_TYPES, counts, strict=True):
        if count:
            instruments.tokens.add(count, {**attributes, "type": token_type})


def _record_unscoped(instruments: Instruments, labels: Attributes, sums: Sums) -> None:
    for (kind, _, _), row in sums.calls.items():
        instruments.unscoped.add(row.calls, {**labels, "kind": kind, "outcome": "allowed"})
    for (denial, _, _, what), count in sums.denials.items():
        if denial == "unscoped":
            kind_of = {} if what is None else {"kind": what}
            instruments.unscoped.add(count, {**labels, **kind_of, "outcome": "denied"})
