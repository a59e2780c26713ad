"""The records of what budgets did about a call, a run or an iteration: refused, or let through above a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from costscope.errors import BudgetExceeded
from costscope.ledger.admission import denial_kind
from costscope.observe.events.records import CallDegraded, CallRefused
from costscope.policy.model.controls import WALL_CLOCK

if TYPE_CHECKING:
    from costscope.engine.enforcement.wall_clocks import Late
    from costscope.engine.state.level_watch import Watch
    from costscope.errors import CallDenied, DenialKind
    from costscope.policy import Budget
    from costscope.policy.resolve.resolved import Watched
    from costscope.scope.scope import Scope

__all__ = ["What", "tell_above", "tell_late", "tell_refused"]

What = Literal["model", "tool", "run", "iteration"]


def tell_refused(scope: Scope, what: What, name: str, error: CallDenied) -> None:
    """A refusal of anything."""
    if not isinstance(error, BudgetExceeded):
        scope.emit(CallRefused(**scope.stamp(), what=what, name=name, kind=error.kind, reason=str(error)))
        return
    scope.emit(
        CallRefused(
            **scope.stamp(),
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


def tell_above(scope: Scope, what: What, name: str, watch: Watch, watched: Watched, asked: int) -> None:
    """Something that a budget has let through above its limit, or that a shadow budget would have refused.

    Args:
        scope: where.
        what: a call, a run or an iteration.
        name: of it.
        watch: holds the balances after it.
        watched: the mark of the limit.
        asked: what it takes of the meter.
    """
    mark = watched.mark
    spent, held = watch.used(watched)
    if watched.budget.enforcement != "shadow":
        scope.emit(
            CallDegraded(
                **scope.stamp(),
                what=what,
                name=name,
                budget=watched.budget.id,
                meter=mark.meter,
                limit=mark.limit,
                spent=spent,
                held=held,
            )
        )
        return
    kind = _would_be(asked, spent, mark.limit)
    held = max(held - asked, 0)
    _tell_shadow(scope, what, name, watched.budget, mark.meter, (kind, mark.limit, spent, held, asked))


def tell_late(scope: Scope, what: What, name: str, late: Late) -> None:
    """`tell_above` for a wall clock; its numbers are in ms."""
    budget, limit_ms = late.budget, late.budget.wall_clock_ms or 0
    if budget.enforcement != "shadow":
        scope.emit(
            CallDegraded(
                **scope.stamp(),
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
    scope: Scope,
    what: What,
    name: str,
    budget: Budget,
    meter: str,
    numbers: tuple[DenialKind, int, int, int, int],
) -> None:
    kind, limit, spent, held, asked = numbers
    scope.emit(
        CallRefused(
            **scope.stamp(),
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
