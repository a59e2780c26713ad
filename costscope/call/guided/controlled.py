"""Reserving a call over which policies act: clocks, effects, waiting, fallbacks; then what has come about by it.

Most calls need none of it, even where policies act: they go straight through `costscope.call.drivers.drive`, which asks here
whether anything is to be seen to before (`eventful`) or behind (`remarkable`) the reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.call.guided.degraded import let_through_above, let_through_late
from costscope.call.guided.hindsight import sent_back
from costscope.call.guided.preconditions import may_go_on
from costscope.call.reserving import opened, opening, refusal
from costscope.call.tell import tell_downgraded
from costscope.call.withdrawal import abandon, came_too_late
from costscope.control.effects import NOTHING
from costscope.enforcement.announce import announce
from costscope.enforcement.patience import Patience
from costscope.errors import BudgetExceeded
from costscope.ledger import Outcome
from costscope.policy.controls import OnDenied
from costscope.run.orders import halt_at_limit, ordered_to_stop
from costscope.stores.steps import Execute

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.stores.steps import Steps

__all__ = ["behind", "controlled", "eventful", "remarkable"]


def eventful(call: Call) -> bool:
    """True if something may refuse, hold up or change the call before it is reserved."""
    scope = call.scope
    run, watch = scope.run, scope.watch
    if run is not None and (run.clock_ms is not None or run.effects.brake is not None or not run.goes_on):
        return True
    if scope.clocked:
        return True
    if watch is None or not watch.above():
        call.below = watch
        return False
    return watch.effects() is not NOTHING


def remarkable(call: Call) -> bool:
    """True if something may be told of the call now that its hold stands."""
    if call.asked or call.late or call.refused is not None or call.beat is not None:
        return True
    run, watch = call.scope.run, call.scope.watch
    if run is not None and not run.goes_on:
        return True
    return watch is not call.below and watch is not None and watch.above()


def behind(call: Call) -> Steps[None]:
    """What is to be done after the first attempt: tell of it, or do something about its refusal.

    Raises:
        CallDenied: refused; nothing is held, unless it is that the store cannot be reached.
    """
    if call.refused is not None or came_too_late(call) or (yield from sent_back(call)):
        yield from controlled(call)
    else:
        yield from _told(call)


def controlled(call: Call) -> Steps[None]:
    """Hold the call's estimate; go on from the refusal of its first attempt, if one was made.

    Raises:
        CallDenied: refused; nothing is held, unless it is that the store cannot be reached.
    """
    try:
        yield from _hold(call)
    except BudgetExceeded as error:
        yield from halt_at_limit(call.scope, error)
        raise
    yield from _told(call)


def _hold(call: Call) -> Steps[None]:
    """Try until the hold stands, or nothing is left to try.

    Raises:
        CallDenied: nothing is.
    """
    patience: Patience | None = None
    error, call.refused = call.refused, None
    try:
        while True:
            if error is None:
                error = yield from _tried(call, patience)
            if error is None:
                if not came_too_late(call) and not (yield from sent_back(call)):
                    return
                call.attempts = 0
                continue
            halted = ordered_to_stop(call.scope.run, error.meter)
            if halted is not None:
                raise halted
            if _redirected(call, error):
                call.attempts, error = 0, None
                continue
            if error.kind == "in_flight":
                patience = patience or Patience.of(call.runtime, _on_denied(call, error))
                if patience is not None and (yield from patience.wait(call.accounts)):
                    call.attempts, error = 0, None
                    continue
            raise error
    finally:
        if patience is not None:
            patience.over()


def _tried(call: Call, patience: Patience | None) -> Steps[BudgetExceeded | None]:
    """One attempt; what refused it, if something may be done about that.

    Raises:
        CallDenied: refused for good.
    """
    yield from may_go_on(call)
    command = opening(call) if patience is None else opening(call, patience)
    while command is not None:
        reply = (yield Execute((command,)))[0]
        if patience is not None:
            patience.told(reply)
        if reply.outcome is Outcome.DENIED:
            return refusal(call, reply)
        command = opened(call, reply)
    return None


def _redirected(call: Call, error: BudgetExceeded) -> bool:
    """Send the call to a cheaper model where the budget that refuses it wants that; say whether there is one."""
    budget = call.runtime.budget(error.budget)
    if budget is None or budget.on_limit != "downgrade_then_reject" or call.detour is None:
        return False
    return call.detour.fall_back(call)


def _told(call: Call) -> Steps[None]:
    """What has come about by the hold."""
    try:
        if call.scope.run is not None:
            call.scope.run.check()  # this process may have slept since it asked for the hold
        yield from _tell(call)
    except BaseException:  # halted or cancelled with the hold in hand: the function will not be called
        abandon(call)
        raise


def _tell(call: Call) -> Steps[None]:
    """Thresholds that are crossed, limits that are passed, another model."""
    if call.asked:
        tell_downgraded(call)
    if call.late:
        let_through_late(call)
    watch = call.scope.watch
    if watch is None:
        return
    crossed = watch.crossed()
    if crossed:
        yield from announce(call.scope, watch, crossed)
    effects = watch.effects()
    if effects.over:
        let_through_above(call, watch, effects.over)


def _on_denied(call: Call, error: BudgetExceeded) -> OnDenied:
    """What this refusal is to lead to: what the call was told, else what the budget says."""
    if call.on_denied is not None:
        return call.on_denied
    said = call.scope.on_denied(error.budget) if isinstance(error, BudgetExceeded) else None
    return said or OnDenied()
