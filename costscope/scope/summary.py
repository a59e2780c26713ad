"""What a scope came to: the tree with every account, and sums of what was done by model, tool and label."""

from __future__ import annotations

from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from costscope.engine.state.activity import activity_of, join_activity
from costscope.observe.events.records import RunStatus
from costscope.pricing.money import currency, format_amount
from costscope.scope.balances import AccountBalance, balances, least_remaining, own_cost, own_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.engine.state.activity import Activity
    from costscope.engine.state.scope_state import ScopeState
    from costscope.observe.telemetry.totals import CallKind, Sums

_TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning")
_MINUTE_S = 60


class CallsSummary(msgspec.Struct, frozen=True):
    """The calls of one model or tool."""

    calls: int
    errors: int
    """Of these, the ones whose function raised."""
    cost: Decimal
    """In units of the currency."""
    tokens: dict[str, int]
    """By type: `input` and `output` are totals; `cache_read` and `cache_write` are parts of the one, `reasoning` of the
    other."""


class ScopeSummary(msgspec.Struct, frozen=True):
    """A scope and those nested in it, at one moment.

    `spent` and `held` are those of the scope's own account where it has a `max_cost`, which all processes of a run
    share; everything else is what this process did.
    """

    labels: dict[str, str]
    run: str | None
    status: RunStatus | None
    """How the run ended; None while it goes on, and outside of runs."""
    spent: Decimal
    held: Decimal
    limit: Decimal | None
    """The least `cost` that the scope itself or its run is allowed; None where neither has a limit."""
    remaining: Decimal | None
    """The least that any budget over it has left; None where none limits `cost`."""
    calls: int
    iterations: int
    by_model: dict[str, CallsSummary]
    by_tool: dict[str, CallsSummary]
    by_label: dict[str, dict[str, Decimal]]
    """Label to value to cost of the calls made under it."""
    tokens: dict[str, int]
    denials: dict[str, int]
    """Refusals by kind."""
    downgrades: int
    saved: Decimal
    """What the holds of downgraded calls were below those of the models they asked for."""
    seconds: float
    """Since the scope was opened; of one that is closed, until then."""
    burn_rate: Decimal
    """Cost per minute of these."""


def summary(state: ScopeState) -> ScopeSummary:
    """Return what a scope and those nested in it came to, in scopes that are open as well."""
    past, run = activity(state), state.run
    spent, held = own_cost(state)
    seconds = (state.ended_s or monotonic()) - state.opened_s
    sums = past.sums
    rows = sums.calls.values()
    cost = sum(row.cost_nano for row in rows)
    denials: dict[str, int] = {}
    for (kind, *_), count in sums.denials.items():
        denials[kind] = denials.get(kind, 0) + count
    return ScopeSummary(
        labels=dict(state.labels),
        run=None if run is None else run.name,
        status=None if run is None else run.status,
        spent=currency(spent),
        held=currency(held),
        limit=own_limit(state),
        remaining=least_remaining(state),
        calls=sum(row.calls for row in rows),
        iterations=0 if run is None else run.iterations,
        by_model=_by_name(sums, "model"),
        by_tool=_by_name(sums, "tool"),
        by_label={
            label: {value: currency(nano) for value, nano in values.items()}
            for label, values in past.by_label.items()
        },
        tokens={name: sum(getattr(row, name) for row in rows) for name in _TOKENS},
        denials=denials,
        downgrades=past.downgrades,
        saved=currency(past.saved_nano),
        seconds=seconds,
        burn_rate=currency(int(cost * _MINUTE_S / seconds)) if seconds > 0 else Decimal(0),
    )


def activity(state: ScopeState) -> Activity:
    """Return what has happened in a scope so far, in scopes that are open as well."""
    closed = state.history.all()
    inside = [activity(child) for child in state.children if not child.closed]
    return join_activity((closed, activity_of(state.totals.peek(), state.labels), *inside))


def _by_name(sums: Sums, kind: CallKind) -> dict[str, CallsSummary]:
    found: dict[str, CallsSummary] = {}
    for name in dict.fromkeys(name for found_kind, name, _ in sums.calls if found_kind == kind):
        rows = {o: row for (k, n, o), row in sums.calls.items() if (k, n) == (kind, name)}
        found[name] = CallsSummary(
            calls=sum(row.calls for row in rows.values()),
            errors=rows["error"].calls if "error" in rows else 0,
            cost=currency(sum(row.cost_nano for row in rows.values())),
            tokens={token: sum(getattr(row, token) for row in rows.values()) for token in _TOKENS},
        )
    return found


class ScopeReport(msgspec.Struct, frozen=True):
    """One scope and those nested in it, at one moment."""

    labels: dict[str, str]
    own: dict[str, str]
    """The labels this scope added."""
    spent: Decimal
    held: Decimal
    closed: bool
    accounts: tuple[AccountBalance, ...]
    children: tuple[ScopeReport, ...]
    more_children: int = 0
    """Nested scopes beyond those remembered."""

    def __str__(self) -> str:
        return "\n".join(self.lines("", set()))

    def lines(self, indent: str, shown: set[tuple[str, str]]) -> Iterator[str]:
        """Yield the text, one line a row; `shown` are the accounts that stand further up already."""
        name = " ".join(f"{label}={value}" for label, value in self.own.items()) or "scope"
        yield f"{indent}{name}: spent {self.spent}, held {self.held}{' (closed)' if self.closed else ''}"
        for row in self.accounts:
            if (row.key, row.meter) in shown:  # said where it first applies, not again at every level
                continue
            shown.add((row.key, row.meter))
            until = f", resets {row.resets_at:%Y-%m-%d %H:%M} UTC" if row.resets_at else ""
            yield (
                f"{indent}  [{row.budget}] {row.meter}: {format_amount(row.meter, row.spent)} spent + "
                f"{format_amount(row.meter, row.held)} held of {format_amount(row.meter, row.limit)}{until}"
            )
        for child in self.children:
            yield from child.lines(indent + "  ", shown)
        if self.more_children:
            yield f"{indent}  ... and {self.more_children} more scopes"


def report(state: ScopeState) -> ScopeReport:
    """Return the tree of a scope and those nested in it, with every account, as last seen."""
    spent, held = own_cost(state)
    above = {} if state.parent is None else state.parent.labels
    return ScopeReport(
        labels=dict(state.labels),
        own={name: value for name, value in state.labels.items() if name not in above},
        spent=currency(spent),
        held=currency(held),
        closed=state.closed,
        accounts=tuple(balances(state)),
        children=tuple(report(child) for child in state.children),
        more_children=state.more_children,
    )
