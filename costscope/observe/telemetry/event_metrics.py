"""What happens rarely, counted as it happens: records of the event stream as metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final, get_args

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
from costscope.policy.model.actions import ACTIONS
from costscope.policy.model.controls import OnLimit, Triggers
from costscope.pricing.money import NANO

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.observe.events.records import Event
    from costscope.observe.telemetry.attributes import AttributeGuard, Attributes
    from costscope.observe.telemetry.metrics import Instruments, Meters

_REASONS: Final = frozenset(
    {*Triggers.__struct_fields__, *ACTIONS, *get_args(OnLimit), "route", "stage", "max_tokens"}
)
"""The words of a policy that a reason for a downgrade may be about."""
_WORDS: Final = re.compile(r"[a-z_]+")

_OpenRun = tuple[str, tuple[tuple[str, str], ...]]


class EventMetrics:
    """Counts the records of one runtime. Used by any number of threads.

    Args:
        guard: makes attributes of labels.
        meters: has the instruments.
    """

    def __init__(self, guard: AttributeGuard, meters: Meters) -> None:
        self._guard = guard
        self._meters = meters
        self._open: dict[_OpenRun, Attributes] = {}
        """Runs that began in this process. A run that is found abandoned, of a process that is dead, is not here."""
        self.unexported = False
        """Something was counted since the last export."""

    def count(self, event: Event) -> None:
        """Add one record of the event stream to the metrics: thresholds, downgrades, runs and all else that is rare.

        Calls that ran, and calls that a limit refused, are not counted here: they are in the sums of their scopes.
        """
        count = self._COUNT.get(type(event))
        if count is not None:
            self.unexported = True
            count(self, self._meters.made or self._meters.instruments(), event)

    def _count_threshold(self, instruments: Instruments, event: ThresholdCrossed) -> None:
        attributes = self._guard.attributes(
            event.labels,
            budget=event.budget,
            meter=event.meter,
            threshold=f"{event.threshold:g}",
            actions=",".join(sorted(set(event.actions))),
        )
        instruments.thresholds.add(1, attributes)

    def _count_refusal(self, instruments: Instruments, event: CallRefused) -> None:
        if event.enforced and event.what in {"model", "tool"}:
            return  # in the sums of its scope
        counter = instruments.denials if event.enforced else instruments.shadow_denials
        attributes = self._guard.attributes(
            event.labels, kind=event.kind, budget=event.budget, meter=event.meter
        )
        counter.add(1, {**attributes, "what": event.what})

    def _count_degraded_call(self, instruments: Instruments, event: CallDegraded) -> None:
        attributes = self._guard.attributes(event.labels, budget=event.budget, meter=event.meter)
        instruments.degraded.add(1, {**attributes, "what": event.what})

    def _count_downgrade(self, instruments: Instruments, event: Downgraded) -> None:
        models = self._guard.attributes(event.labels, name=event.asked, effective=event.effective)
        instruments.downgrades.add(1, {**models, "reason": _find_reason(event.reason)})
        if event.saved is not None and event.saved > 0:
            instruments.saved.add(event.saved / NANO, models)

    def _count_runaway(self, instruments: Instruments, event: RunawayDetected) -> None:
        attributes = self._guard.attributes(event.labels)
        instruments.runaways.add(1, {**attributes, "reason": event.reason})

    def _count_run_start(self, instruments: Instruments, event: RunStarted) -> None:
        labels = self._guard.attributes(event.labels)
        if self._open.setdefault((event.run, tuple(labels.items())), labels) is labels:
            instruments.runs_active.add(1, labels)

    def _count_run_end(self, instruments: Instruments, event: RunEnded) -> None:
        labels = self._guard.attributes(event.labels)
        began_here = self._open.pop((event.run, tuple(labels.items())), None)
        if began_here is not None:
            instruments.runs_active.add(-1, began_here)
        attributes = {**labels, "status": event.status}
        instruments.runs.add(1, attributes)
        if event.iterations:
            instruments.iterations.add(event.iterations, labels)
        if (
            event.status != "abandoned"
        ):  # how long the run of a dead process took, and what it cost, is not known
            instruments.run_duration.record(event.seconds, attributes)
            instruments.run_cost.record(event.cost / NANO, attributes)

    def _count_reset(self, instruments: Instruments, event: AccountReset) -> None:
        instruments.resets.add(1, self._guard.attributes(event.labels, budget=event.budget))

    def _count_reload(self, instruments: Instruments, event: PolicyReloaded) -> None:
        instruments.reloads.add(1, {"outcome": "accepted" if event.accepted else "refused"})

    _COUNT: ClassVar[dict[type[Event], Callable[..., None]]] = {
        ThresholdCrossed: _count_threshold,
        CallRefused: _count_refusal,
        CallDegraded: _count_degraded_call,
        Downgraded: _count_downgrade,
        RunawayDetected: _count_runaway,
        RunStarted: _count_run_start,
        RunEnded: _count_run_end,
        AccountReset: _count_reset,
        PolicyReloaded: _count_reload,
    }
    """`CallSettled` is left to the sums of its scope."""


def _find_reason(text: str) -> str:
    """Return the word of the policy that a reason is about: its figures would start a series with every call."""
    return next((word for word in _WORDS.findall(text) if word in _REASONS), OTHER)
