"""What a scope's events come to: plain sums by kind, name and outcome, owned by one thread at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from costscope.telemetry.durations import Durations

if TYPE_CHECKING:
    from costscope.errors import DenialKind
    from costscope.usage import Usage

__all__ = ["CallKind", "CallOutcome", "CallSum", "Refused", "Settlement", "Sums"]

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
    """Everything folded since the last `ScopeTotals.take`."""

    calls: dict[tuple[CallKind, str, CallOutcome], CallSum] = field(default_factory=dict)
    retries: dict[tuple[CallKind, str], int] = field(default_factory=dict)
    """By kind and name: calls of which the one before, of the same kind and name in this scope, had failed."""
    denials: dict[tuple[DenialKind, str | None, str | None, Refused | None], int] = field(
        default_factory=dict
    )
    """By kind, budget id, meter, and what was refused."""
    settlements: dict[Settlement, int] = field(default_factory=dict)
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
        for call, count in more.retries.items():
            self.retries[call] = self.retries.get(call, 0) + count
        for refusal, count in more.denials.items():
            self.denials[refusal] = self.denials.get(refusal, 0) + count
        for outcome, count in more.settlements.items():
            self.settlements[outcome] = self.settlements.get(outcome, 0) + count
        self.overrun_nano += more.overrun_nano
        self.scope_cost_nano += more.scope_cost_nano
