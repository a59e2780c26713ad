"""What happens rarely, counted as it happens: records of the event stream as metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from costscope.observe.events.records import (
    AccountReset,
    CallDegraded,
    CallRefused,
    Downgraded,
    PolicyReloaded,
    RunawayDetected,
    RunEnded,
    RunStarted,
    ThresholdCrossed,
)
from costscope.observe.telemetry.attributes import OTHER
from costscope.policy.actions import ACTIONS
from costscope.policy.model.controls import OnLimit, Triggers
from costscope.pricing.money import NANO

if TYPE_CHECKING:
    from costscope.observe.events.records import Event
    from costscope.observe.telemetry.attributes import AttributeGuard, Attributes
    from costscope.observe.telemetry.metrics import Instruments

__all__ = ["EventMetrics"]

_REASONS: Final = frozenset(
    {*Triggers.__struct_fields__, *ACTIONS, *get_args(OnLimit), "route", "stage", "max_tokens"}
)
"""The words of a policy that a reason for a downgrade may be about."""
_WORDS: Final = re.compile(r"[a-z_]+")

_OpenRun = tuple[str, tuple[tuple[str, str], ...]]


class EventMetrics:
    """Counts the records of one runtime. Used by any number of threads.

    Settled calls are not among what it counts, nor are refused ones: they are in the sums of their scopes.
    """

    def __init__(self, guard: AttributeGuard) -> None:
        self._guard = guard
        self._open: dict[_OpenRun, Attributes] = {}
        """Runs that began in this process: whoever finds the run of a dead process abandoned never had it."""

    def count(self, instruments: Instruments, event: Event) -> None:
        """Add one record to the metrics."""
        labels = self._guard.labels(event.labels)
        match event:
            case ThresholdCrossed():
                instruments.thresholds.add(1, labels | self._crossing(event))
            case CallRefused():
                self._refused(instruments, event, labels)
            case CallDegraded():
                limit = self._limit(event.budget, event.meter)
                instruments.degraded.add(1, {**labels, "what": event.what, **limit})
            case Downgraded():
                self._downgraded(instruments, event, labels)
            case RunawayDetected():
                instruments.runaways.add(1, {**labels, "reason": event.reason})
            case RunStarted():
                self._started(instruments, event, labels)
            case RunEnded():
                self._ended(instruments, event, labels)
            case AccountReset():
                instruments.resets.add(1, {**labels, **self._limit(event.budget, None)})
            case PolicyReloaded():
                instruments.reloads.add(1, {"outcome": "accepted" if event.accepted else "refused"})

    def _crossing(self, event: ThresholdCrossed) -> Attributes:
        guard = self._guard
        return {
            **self._limit(event.budget, event.meter),
            "threshold": guard.value("threshold", f"{event.threshold:g}"),
            "actions": guard.value("actions", ",".join(sorted(set(event.actions)))),
        }

    def _refused(self, instruments: Instruments, event: CallRefused, labels: Attributes) -> None:
        if event.enforced and event.what in {"model", "tool"}:
            return  # in the sums of its scope
        counter = instruments.denials if event.enforced else instruments.shadow_denials
        kind = self._guard.value("kind", event.kind)
        counter.add(1, {**labels, "what": event.what, "kind": kind, **self._limit(event.budget, event.meter)})

    def _downgraded(self, instruments: Instruments, event: Downgraded, labels: Attributes) -> None:
        models = {
            **labels,
            "name": self._guard.value("name", event.asked),
            "effective": self._guard.value("effective", event.effective),
        }
        instruments.downgrades.add(1, {**models, "reason": _reason(event.reason)})
        if event.saved is not None and event.saved > 0:
            instruments.saved.add(event.saved / NANO, models)

    def _started(self, instruments: Instruments, event: RunStarted, labels: Attributes) -> None:
        if self._open.setdefault((event.run, tuple(labels.items())), labels) is labels:
            instruments.runs_active.add(1, labels)

    def _ended(self, instruments: Instruments, event: RunEnded, labels: Attributes) -> None:
        began_here = self._open.pop((event.run, tuple(labels.items())), None)
        if began_here is not None:
            instruments.runs_active.add(-1, began_here)
        attributes = {**labels, "status": event.status}
        instruments.runs.add(1, attributes)
        if event.iterations:
            instruments.iterations.add(event.iterations, labels)
        if event.status != "abandoned":  # of a dead process nobody knows how long it ran, nor what it cost
            instruments.run_duration.record(event.seconds, attributes)
            instruments.run_cost.record(event.cost / NANO, attributes)

    def _limit(self, budget: str | None, meter: str | None) -> Attributes:
        found: Attributes = {}
        if budget is not None:
            found["budget"] = self._guard.value("budget", budget)
        if meter is not None:
            found["meter"] = self._guard.value("meter", meter)
        return found


def _reason(text: str) -> str:
    """The word of the policy that a reason is about: the figures in it would start a series with every call."""
    return next((word for word in _WORDS.findall(text) if word in _REASONS), OTHER)
