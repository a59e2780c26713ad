"""The records of what budgets did about a call, a run or an iteration: refused, or let through above a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from costscope.errors import BudgetExceeded
from costscope.ledger.admission import denial_kind
from costscope.observe.events.records import CallDegraded, CallRefused
from costscope.policy.model.controls import WALL_CLOCK

if TYPE_CHECKING:
    from costscope.engine.state.level_watch import Late, Watch
    from costscope.engine.state.scope_state import ScopeState
    from costscope.errors import CallDenied, DenialKind
    from costscope.observe.telemetry.spans import SpanHandle
    from costscope.observe.telemetry.totals import CallKind
    from costscope.policy import Budget
    from costscope.policy.resolve.resolved import Watched

What = Literal["model", "tool", "run", "iteration"]


def emit_call_refused(
    scope: ScopeState, kind: CallKind, name: str, error: CallDenied, span: SpanHandle | None = None
) -> None:
    """Count the refusal of a call, trace it and tell of it.

    Args:
        scope: where it was made; `outside_scope` for none, which is a place, too.
        kind: model or tool.
        name: of the model or tool.
        error: what is about to be raised.
        span: of the call, if there is one yet.
    """
    budget, meter = getattr(error, "budget", None), getattr(error, "meter", None)
    scope.totals.add_denial(error.kind, budget, meter, kind)
    spans = scope.services.spans
    if spans is not None:
        span = span or spans.start(kind, name, scope.labels)
        if span is not None:
            spans.refuse(span, error)
    emit_refused(scope, kind, name, error)


def emit_refused(scope: ScopeState, what: What, name: str, error: CallDenied) -> None:
    """Tell of the refusal of a call, a run or an iteration."""
    if not isinstance(error, BudgetExceeded):
        scope.emit(
            CallRefused(
                **scope.services.stamp(scope.labels), what=what, name=name, kind=error.kind, reason=str(error)
            )
        )
        return
    scope.emit(
        CallRefused(
            **scope.services.stamp(scope.labels),
            what=what,
            name=name,
            kind=error.kind,
            reason=str(error),
            budget=error.budget,
            meter=error.meter,
            limit=error.limit,
            spent=error.spent,
            held=error.held,
            requested=error.requested,
        )
    )


def emit_above(scope: ScopeState, what: What, name: str, watch: Watch, watched: Watched, asked: int) -> None:
    """Something that a budget has let through above its limit, or that a shadow budget would have refused.

    Args:
        scope: where.
        what: a call, a run or an iteration.
        name: of it.
        watch: holds the balances after it.
        watched: the level of the limit.
        asked: what it takes of the meter.
    """
    level = watched.level
    spent, held = watch.balance_of(watched)
    if watched.budget.enforcement != "shadow":
        scope.emit(
            CallDegraded(
                **scope.services.stamp(scope.labels),
                what=what,
                name=name,
                budget=watched.budget.id,
                meter=level.meter,
                limit=level.limit,
                spent=spent,
                held=held,
            )
        )
        return
    kind = _would_be(asked, spent, level.limit)
    held = max(held - asked, 0)
    _tell_shadow(scope, what, name, watched.budget, level.meter, (kind, level.limit, spent, held, asked))


def emit_late(scope: ScopeState, what: What, name: str, late: Late) -> None:
    """`emit_above` for a wall clock; its numbers are in ms."""
    budget, limit_ms = late.budget, late.budget.wall_clock_ms or 0
    if budget.enforcement != "shadow":
        scope.emit(
            CallDegraded(
                **scope.services.stamp(scope.labels),
                what=what,
                name=name,
                budget=budget.id,
                meter=WALL_CLOCK,
                limit=limit_ms,
                spent=late.elapsed_ms,
                held=0,
            )
        )
        return
    _tell_shadow(scope, what, name, budget, WALL_CLOCK, ("exhausted", limit_ms, late.elapsed_ms, 0, 0))


def _tell_shadow(
    scope: ScopeState,
    what: What,
    name: str,
    budget: Budget,
    meter: str,
    numbers: tuple[DenialKind, int, int, int, int],
) -> None:
    kind, limit, spent, held, asked = numbers
    scope.emit(
        CallRefused(
            **scope.services.stamp(scope.labels),
            what=what,
            name=name,
            kind=kind,
            reason=f"the shadow budget {budget.id} would have refused it",
            budget=budget.id,
            meter=meter,
            limit=limit,
            spent=spent,
            held=held,
            requested=asked,
            enforced=False,
        )
    )


def _would_be(asked: int, spent: int, limit: int) -> DenialKind:
    """As what a hard budget would have refused it: by the rule of the ledger's own refusals."""
    return denial_kind(asked, spent, limit) if asked else "exhausted"
