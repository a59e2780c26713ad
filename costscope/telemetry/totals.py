"""What happened in one scope, summed in plain integers by any number of threads and tasks.

An SDK `add` costs 10 us and `sums[key] += n` loses updates between threads, so a metered call only appends a
tuple to a deque, which is atomic. The tuples are folded into sums when many have gathered and when the scope
closes. There is no lock anywhere: a finalizer that settles an abandoned stream may run in the middle of a fold.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from costscope.errors import DenialKind
    from costscope.usage import Usage

__all__ = [
    "FOLD_AT",
    "CallKind",
    "CallOutcome",
    "CallSum",
    "ScopeTotals",
    "Settlement",
    "Sums",
]

CallKind = Literal["model", "tool"]
CallOutcome = Literal["ok", "error"]
Settlement = Literal["committed", "late", "orphan", "released", "presumed"]
"""What became of a reservation; the words of the ledger."""

FOLD_AT: Final = 256
"""Events that may wait before they are folded: bounds the memory of a scope that stays open for weeks."""


@dataclass(slots=True)
class CallSum:
    """The calls of one kind, name and outcome: how many, nano-units of the currency, tokens by type."""

    calls: int = 0
    cost_nano: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(slots=True)
class Sums:
    """Everything folded since the last `ScopeTotals.take`."""

    calls: dict[tuple[CallKind, str, CallOutcome], CallSum] = field(default_factory=dict)
    denials: dict[tuple[DenialKind, str | None, str | None], int] = field(default_factory=dict)
    """By kind, budget id and meter."""
    settlements: dict[Settlement, int] = field(default_factory=dict)
    overrun_nano: int = 0
    scope_cost_nano: int = 0
    """Cost of the calls of this scope and of the scopes nested in it."""


_Event = (
    tuple[Literal["call", "committed"], CallKind, str, CallOutcome, int, "Usage | None"]
    | tuple[Literal["denial"], "DenialKind", str | None, str | None]
    | tuple[Literal["settlement"], Settlement, int]
    | tuple[Literal["nested"], int]
)


class ScopeTotals:
    """The sums of one scope. Every method may be called from any thread and never waits for another caller.

    A call belongs to the innermost scope it ran in and to no other, so summing a metric over all scopes counts
    nothing twice. Only the cost is also handed to the enclosing scope (`nested`), for the histogram of what a
    whole scope costs.
    """

    __slots__ = ("_events", "_folded")

    def __init__(self) -> None:
        self._events: deque[_Event] = deque()
        self._folded: deque[Sums] = deque()

    def call(
        self,
        kind: CallKind,
        name: str,
        outcome: CallOutcome,
        cost_nano: int,
        usage: Usage | None = None,
    ) -> None:
        """Count one metered call that ran; `cost_nano` is what was charged for it, in nano-units."""
        events = self._events
        events.append(("call", kind, name, outcome, cost_nano, usage))
        if len(events) >= FOLD_AT:
            self._fold()

    def committed(
        self, kind: CallKind, name: str, outcome: CallOutcome, cost_nano: int, usage: Usage | None = None
    ) -> None:
        """`call` and a `committed` settlement without overrun in one: what nearly every call comes to."""
        events = self._events
        events.append(("committed", kind, name, outcome, cost_nano, usage))
        if len(events) >= FOLD_AT:
            self._fold()

    def settlement(self, outcome: Settlement, overrun_nano: int = 0) -> None:
        """Count one settled reservation; `overrun_nano` is what the call cost above its hold."""
        events = self._events
        events.append(("settlement", outcome, overrun_nano))
        if len(events) >= FOLD_AT:
            self._fold()

    def denial(self, kind: DenialKind, budget: str | None = None, meter: str | None = None) -> None:
        """Count one refused call; `budget` and `meter` when a limit refused it."""
        events = self._events
        events.append(("denial", kind, budget, meter))
        if len(events) >= FOLD_AT:
            self._fold()

    def nested(self, cost_nano: int) -> None:
        """Count what a nested scope has cost, in nano-units; it changes nothing but `Sums.scope_cost_nano`."""
        events = self._events
        events.append(("nested", cost_nano))
        if len(events) >= FOLD_AT:
            self._fold()

    def take(self) -> Sums:
        """What has happened since the last `take`: each event is in exactly one answer.

        Events of a call that another thread is counting at this moment may be in the next one.
        """
        taken = self._unfold() or Sums()
        while (more := self._unfold()) is not None:
            _add_sums(taken, more)
        self._drain(taken)
        return taken

    def _fold(self) -> None:
        # Each event and each partial sum is popped by exactly one thread, which owns it until it puts it back.
        sums = self._unfold() or Sums()
        self._drain(sums)
        self._folded.append(sums)

    def _unfold(self) -> Sums | None:
        try:
            return self._folded.pop()
        except IndexError:
            return None

    def _drain(self, sums: Sums) -> None:
        """Move the waiting events into `sums`, but not those that arrive meanwhile: it must come to an end."""
        events = self._events
        for _ in range(len(events)):
            try:
                event = events.popleft()
            except IndexError:  # another thread drains as well
                return
            if event[0] == "call" or event[0] == "committed":
                what, kind, name, outcome, cost_nano, usage = event
                if what == "committed":
                    sums.settlements["committed"] = sums.settlements.get("committed", 0) + 1
                sums.scope_cost_nano += cost_nano
                row = sums.calls.get((kind, name, outcome))
                if row is None:
                    row = sums.calls[kind, name, outcome] = CallSum()
                row.calls += 1
                row.cost_nano += cost_nano
                if usage is not None:
                    _add_tokens(row, usage)
            elif event[0] == "settlement":
                sums.settlements[event[1]] = sums.settlements.get(event[1], 0) + 1
                sums.overrun_nano += event[2]
            elif event[0] == "denial":
                refusal = event[1:]
                sums.denials[refusal] = sums.denials.get(refusal, 0) + 1
            else:
                sums.scope_cost_nano += event[1]


def _add_tokens(row: CallSum, usage: Usage) -> None:
    row.input += usage.input_tokens
    row.output += usage.output_tokens
    row.cache_read += usage.cache_read_tokens
    row.cache_write += usage.cache_write_tokens
    row.reasoning += usage.reasoning_tokens


def _add_sums(into: Sums, more: Sums) -> None:
    """Add partial sums that two threads folded at the same time."""
    for key, row in more.calls.items():
        mine = into.calls.setdefault(key, CallSum())
        for name in CallSum.__slots__:
            setattr(mine, name, getattr(mine, name) + getattr(row, name))
    for refusal, count in more.denials.items():
        into.denials[refusal] = into.denials.get(refusal, 0) + count
    for outcome, count in more.settlements.items():
        into.settlements[outcome] = into.settlements.get(outcome, 0) + count
    into.overrun_nano += more.overrun_nano
    into.scope_cost_nano += more.scope_cost_nano
