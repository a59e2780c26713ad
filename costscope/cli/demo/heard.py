"""What the event stream of all processes tells about a demo: runs, thresholds, downgrades, runaways. No I/O."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.cli.demo.scenario import LABELS
from costscope.observe.events import CallRefused, Downgraded, RunawayDetected, RunEnded, ThresholdCrossed
from costscope.observe.reports.as_json import short_money

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.cli.demo.scenario import Path
    from costscope.observe.events import Event, RunStatus

__all__ = ["Crossing", "Heard", "crossing_of"]

_QUIET: Final = frozenset({"log", "callback"})
"""Actions that only tell."""
_KNOWS: Final[dict[RunStatus, int]] = {"abandoned": 0, "halted": 1, "failed": 2, "completed": 3}
"""Of two ends of one run its own process knows better than whoever has found it silent."""


class Crossing(msgspec.Struct, frozen=True):
    """A threshold of an account."""

    budget: str
    meter: str
    percent: float


class Heard:
    """The records of the stream, counted.

    Attributes:
        ended: how each run ended that did.
        refused: runs that were not admitted.
        crossed: how often the stream has told of each threshold.
        downgraded: calls that went to another model than they asked for.
        runaways: runs that seemed out of control, and why.
    """

    def __init__(self) -> None:
        self.ended: dict[Path, RunStatus] = {}
        self.refused: set[Path] = set()
        self.crossed: Counter[Crossing] = Counter()
        self.downgraded = 0
        self.runaways: dict[Path, str] = {}
        self._told: set[object] = set()

    def take(self, event: Event) -> Iterator[str]:
        """Count this record, and say in one line what of it is worth one."""
        path = _path(event.labels)
        match event:
            case RunEnded():
                self._end(path, event.status)
                if event.status == "abandoned":
                    yield from self._once(
                        "abandoned", "runs of the killed worker found abandoned: their places are free"
                    )
            case CallRefused(what="run", budget=str()):  # else the store was away, and the run is tried again
                self.refused.add(path)
                yield from self._once(("refused", path[0], event.budget), _refusal(event))
            case ThresholdCrossed():
                self.crossed[crossing_of(event)] += 1
                yield _crossed(event)
            case Downgraded() if event.effective != event.asked:
                self.downgraded += 1
                line = f"{path[0]}: {event.effective} serves what {event.asked} was asked for, from here on"
                yield from self._once(("downgraded", path[0]), line)
            case RunawayDetected():
                self.runaways[path] = event.reason
                halted = ": halted" if "halt_run" in event.actions else ""
                yield f"run {event.run} is out of control ({_reason(event)}){halted}"

    def statuses(self, tenant: str | None = None) -> Counter[str]:
        """How many runs ended how, of one tenant or of all."""
        return Counter(status for path, status in self.ended.items() if tenant in {None, path[0]})

    def refusals(self, tenant: str | None = None) -> int:
        """How many runs were refused."""
        return sum(tenant in {None, path[0]} for path in self.refused)

    def _end(self, path: Path, status: RunStatus) -> None:
        if path not in self.ended or _KNOWS[status] > _KNOWS[self.ended[path]]:
            self.ended[path] = status

    def _once(self, what: object, line: str) -> Iterator[str]:
        if what not in self._told:
            self._told.add(what)
            yield line


def crossing_of(event: ThresholdCrossed) -> Crossing:
    """The threshold that a record tells of."""
    return Crossing(event.budget, event.meter, event.threshold)


def _path(labels: Mapping[str, str]) -> Path:
    return tuple(labels[name] for name in LABELS if name in labels)


def _crossed(event: ThresholdCrossed) -> str:
    used, limit = short_money(event.spent + event.held), short_money(event.limit)
    actions = ", ".join(action for action in event.actions if action not in _QUIET)
    return f"{event.budget} at {event.threshold:g}% ({used} of {limit} USD){f': {actions}' * bool(actions)}"


def _refusal(event: CallRefused) -> str:
    if event.meter == "runs":
        return f"{event.budget}: no more runs today, {event.limit:,} were admitted"
    return f"{event.budget}: no new runs any more, {short_money(event.spent or 0)} USD are spent"


def _reason(event: RunawayDetected) -> str:
    if event.reason == "repeats":
        return f"one call {event.measured:g} times"
    if event.reason == "failures":
        return f"{event.measured:g} failures in a row"
    return event.detail
