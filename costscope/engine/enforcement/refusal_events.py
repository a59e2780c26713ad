"""The records of what budgets did about a call, a run or an iteration: refused, or let through above a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from costscope.errors import BudgetExceeded
from costscope.ledger.admission import denial_kind
from costscope.observe.events.records import CallDegraded, CallRefused
from costscope.policy.model.controls import WALL_CLOCK

if TYPE_CHECKING:
    from costscope.engine.state.level_watch import Late, Watch
    from costscope.engine.state.scope_state import ScopeState
    from costscope.errors import CallDenied
    from costscope.observe.telemetry.spans import SpanHandle
    from costscope.observe.telemetry.totals import CallKind
    from costscope.policy import Budget
    from costscope.policy.resolve.resolved import Watched

What = Literal["model", "tool", "run", "iteration"]

_NUMBERS: Final = ("budget", "meter", "limit", "spent", "held", "requested")


def emit_call_refused(
    scope: ScopeState, kind: CallKind, name: str, error: CallDenied, span: SpanHandle | None = None
) -> None:
    """Count the refusal of a call, trace it and tell of it; outside every scope it is made in `outside_scope`."""
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
    numbers: dict[str, Any] = {}
    if isinstance(error, BudgetExceeded):
        numbers = {name: getattr(error, name) for name in _NUMBERS}
    stamp, reason = scope.services.stamp(scope.labels), str(error)
    scope.emit(CallRefused(**stamp, what=what, name=name, kind=error.kind, reason=reason, **numbers))


def emit_above(scope: ScopeState, what: What, name: str, watch: Watch, watched: Watched, asked: int) -> None:
    """Tell of what a budget has let through above its limit, or a shadow budget would have refused.

    It takes `asked` of the meter; `watch` holds the balances after it.
    """
    level, numbers = watched.level, watch.balance_of(watched)
    _emit_passed(scope, what, name, watched.budget, level.meter, level.limit, numbers, asked)


def emit_late(scope: ScopeState, what: What, name: str, late: Late) -> None:
    """`emit_above` for a wall clock; its numbers are in ms."""
    limit_ms = late.budget.wall_clock_ms or 0
    _emit_passed(scope, what, name, late.budget, WALL_CLOCK, limit_ms, (late.elapsed_ms, 0), 0)


def _emit_passed(
    scope: ScopeState,
    what: What,
    name: str,
    budget: Budget,
    meter: str,
    limit: int,
    numbers: tuple[int, int],
    asked: int,
) -> None:
    spent, held = numbers
    said: dict[str, Any] = {
        **scope.services.stamp(scope.labels),
        "what": what,
        "name": name,
        "budget": budget.id,
        "meter": meter,
        "limit": limit,
        "spent": spent,
    }
    if budget.enforcement != "shadow":
        scope.emit(CallDegraded(**said, held=held))
        return
    # As what a hard budget would have refused it: by the rule of the ledger's own refusals.
    kind = denial_kind(asked, spent, limit) if asked else "exhausted"
    reason, held = f"the shadow budget {budget.id} would have refused it", max(held - asked, 0)
    scope.emit(CallRefused(**said, held=held, requested=asked, kind=kind, reason=reason, enforced=False))
