"""Calls that a budget lets through which would have been refused by a hard one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.enforcement.tell import tell_above, tell_late

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.policy.coverage import Watched
    from costscope.scope.watch import Watch

__all__ = ["let_through_above", "let_through_late"]


def let_through_above(call: Call, watch: Watch, over: tuple[Watched, ...]) -> None:
    """The hold stands above the limit of budgets that let calls through."""
    taken = call.taken
    above = [watched for watched in over if watched.mark.meter in taken]
    call.degraded += tuple(watched.budget.id for watched in above if watched.budget.enforcement != "shadow")
    for watched in above:
        tell_above(call.scope, call.kind, call.name, watch, watched, taken[watched.mark.meter])


def let_through_late(call: Call) -> None:
    """It is made after the time of budgets that let calls through."""
    call.degraded += tuple(late.budget.id for late in call.late if late.budget.enforcement != "shadow")
    for late in call.late:
        tell_late(call.scope, call.kind, call.name, late)
