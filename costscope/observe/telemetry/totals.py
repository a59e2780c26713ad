"""What happened in one scope, summed in plain integers by any number of threads and tasks.

An SDK `add` costs 7 us and `sums[key] += n` loses updates between threads, so a metered call only appends a
tuple to a deque, which is atomic. The tuples are folded into sums when many have gathered and when the scope
closes. There is no lock anywhere: a finalizer that settles an abandoned stream may run in the middle of a fold.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from costscope.observe.telemetry.call_durations import Durations

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.errors import DenialKind
    from costscope.pricing.usage.usage_fields import Usage


CallKind = Literal["model", "tool"]
CallOutcome = Literal["ok", "error"]
Settlement = Literal["committed", "late", "orphan", "released", "presumed"]
"""What became of a reservation; the words of the ledger."""
Refused = Literal["model", "tool", "run", "iteration"]
"""What may be refused."""


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
    durations: Durations = field(default_factory=Durations)
    """Of those that were measured."""

    def count(self, cost_nano: int, usage: Usage | None, seconds: float) -> None:
        """Add one call."""
        self.calls += 1
        self.cost_nano += cost_nano
        if usage is not None:
            self.input += usage.input_tokens
            self.output += usage.output_tokens
            self.cache_read += usage.cache_read_tokens
            self.cache_write += usage.cache_write_tokens
            self.reasoning += usage.reasoning_tokens
        if seconds:
            self.durations.values.append(seconds)

    def merge(self, more: CallSum) -> None:
        """Add another row."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.durations.merge(more.durations)


_COUNTS: Final = tuple(name for name in CallSum.__slots__ if name != "durations")


@dataclass(slots=True)
class Sums:
    """What a scope's events come to since the last `ScopeTotals.take`: plain sums, owned by one thread at a time."""

    calls: dict[tuple[CallKind, str, CallOutcome], CallSum] = field(default_factory=dict)
    retries: Counter[tuple[CallKind, str]] = field(default_factory=Counter)
    """By kind and name: calls of which the one before, of the same kind and name in this scope, had failed."""
    denials: Counter[tuple[DenialKind, str | None, str | None, Refused | None]] = field(
        default_factory=Counter
    )
    """By kind, budget id, meter, and what was refused."""
    settlements: Counter[Settlement] = field(default_factory=Counter)
    overrun_nano: int = 0
    scope_cost_nano: int = 0
    """Cost of the calls of this scope and of the scopes nested in it."""

    @property
    def is_empty(self) -> bool:
        """True if nothing has happened in the scope, nor in those nested in it."""
        return not (self.calls or self.denials or self.settlements or self.retries or self.scope_cost_nano)

    def merge(self, more: Sums) -> None:
        """Add partial sums that another thread folded at the same time."""
        for key, row in more.calls.items():
            self.calls.setdefault(key, CallSum()).merge(row)
        self.retries.update(more.retries)
        self.denials.update(more.denials)
        self.settlements.update(more.settlements)
        self.overrun_nano += more.overrun_nano
        self.scope_cost_nano += more.scope_cost_nano


FOLD_AT: Final = 256
"""Events that may wait before they are folded: bounds the memory of a scope that stays open for weeks."""

FAILED_MAX: Final = 1024
"""Names whose last call failed that one scope remembers; it forgets them all rather than one more."""


class ScopeTotals:
    """The sums of one scope. Every method may be called from any thread and never waits for another caller.

    A call belongs to the innermost scope it ran in and to no other, so summing a metric over all scopes counts
    nothing twice. Only the cost is also handed to the enclosing scope (`add_nested_cost`), for the histogram of what a
    whole scope costs.
    """

    __slots__ = ("_events", "_failed", "_folded")

    def __init__(self) -> None:
        self._events: deque[_Event] = deque()
        self._folded: deque[Sums] = deque()
        self._failed: set[tuple[str, ...]] = set()

    def add_call(
        self,
        kind: CallKind,
        name: str,
        outcome: CallOutcome,
        cost_nano: int,
        usage: Usage | None = None,
        seconds: float = 0.0,
        *,
        committed: bool = False,
    ) -> None:
        """Count one metered call that ran.

        Args:
            kind: model or tool.
            name: of the model or tool.
            outcome: `error` if the function raised.
            cost_nano: what was charged for it, in nano-units.
            usage: the tokens it used, where they are known.
            seconds: from its reservation to its settlement; 0 where it was not measured.
            committed: count its `committed` settlement without overrun too: what nearly every call comes to.
        """
        events = self._events
        events.append(("call", kind, name, outcome, cost_nano, usage, seconds, committed))
        if len(events) >= FOLD_AT:
            self._fold()

    def add_settlement(self, outcome: Settlement, overrun_nano: int = 0) -> None:
        """Count one settled reservation; `overrun_nano` is what the call cost above its hold."""
        self._add(("settlement", outcome, overrun_nano))

    def add_denial(
        self,
        kind: DenialKind,
        budget: str | None = None,
        meter: str | None = None,
        what: Refused | None = None,
    ) -> None:
        """Count one refusal; `budget` and `meter` when a limit was the reason."""
        self._add(("denial", kind, budget, meter, what))

    def add_nested_cost(self, cost_nano: int) -> None:
        """Count what a nested scope has cost, in nano-units; it changes nothing but `Sums.scope_cost_nano`."""
        self._add(("nested", cost_nano))

    def add_attempt(self, what: tuple[str, ...], outcome: CallOutcome) -> bool:
        """Remember how an attempt at `what` went, and say whether the one before it here had failed.

        Of calls that run side by side the one that ends later counts as the later one.
        """
        failed = self._failed
        before = what in failed
        if outcome == "error":
            if len(failed) >= FAILED_MAX:
                failed.clear()
            failed.add(what)
        elif before:
            failed.discard(what)
        return before

    @property
    def has_failed(self) -> bool:
        """True if `add_attempt` would say so of anything."""
        return bool(self._failed)

    def take(self) -> Sums:
        """Return what has happened since the last `take`: each event is in exactly one answer.

        Events of a call that another thread is counting at this moment may be in the next one.
        """
        taken = self._unfold() or Sums()
        while (more := self._unfold()) is not None:
            taken.merge(more)
        self._drain(taken)
        return taken

    def peek(self) -> Sums:
        """Return a copy of what `take` would answer now."""
        taken, copy = self.take(), Sums()
        copy.merge(taken)
        self._folded.append(taken)
        return copy

    def _add(self, event: _Event) -> None:
        self._events.append(event)
        if len(self._events) >= FOLD_AT:
            self._fold()

    def _fold(self) -> None:
        # Each event and each partial sum is popped by exactly one thread, which owns it until it puts it back.
        sums = self._unfold() or Sums()
        self._drain(sums)
        for row in sums.calls.values():
            row.durations.fold()
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
            if event[0] == "call":
                _, kind, name, outcome, cost_nano, usage, seconds, committed = event
                if committed:
                    sums.settlements["committed"] += 1
                sums.scope_cost_nano += cost_nano
                row = sums.calls.get((kind, name, outcome))
                if row is None:
                    row = sums.calls[kind, name, outcome] = CallSum()
                row.count(cost_nano, usage, seconds)
                if (self._failed or outcome == "error") and self.add_attempt((kind, name), outcome):
                    sums.retries[kind, name] += 1
            elif event[0] == "settlement":
                sums.settlements[event[1]] += 1
                sums.overrun_nano += event[2]
            elif event[0] == "denial":
                sums.denials[event[1:]] += 1
            else:
                sums.scope_cost_nano += event[1]


class EndlessTotals(ScopeTotals):
    """The sums of the calls outside every scope: they are never closed, so each event calls a function."""

    __slots__ = ()

    def __init__(self, on_event: Callable[[], None]) -> None:
        """Call `on_event` at each event. It must not wait: it runs in the middle of calls, and in finalizers."""
        super().__init__()
        self._events = _CallingQueue(on_event)


class _CallingQueue(deque["_Event"]):
    """Events, each of which calls a function as it comes."""

    __slots__ = ("_on_event",)

    def __init__(self, on_event: Callable[[], None]) -> None:
        super().__init__()
        self._on_event = on_event

    def append(self, event: _Event, /) -> None:
        super().append(event)
        self._on_event()


if TYPE_CHECKING:
    _Event = (
        tuple[Literal["call"], CallKind, str, CallOutcome, int, Usage | None, float, bool]
        | tuple[Literal["denial"], DenialKind, str | None, str | None, Refused | None]
        | tuple[Literal["settlement"], Settlement, int]
        | tuple[Literal["nested"], int]
    )
