"""Reserving a call over which policies act: clocks, effects, waiting, fallbacks; then what has come about by it.

Most calls need none of it, even where policies act: they go straight through `costscope.engine.call.drive`, which asks here
whether anything is to be seen to before (`eventful`) or behind (`remarkable`) the reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.call.preflight import may_go_on
from costscope.engine.call.reserve import abandon, came_too_late, opened, opening, refusal, taking_back
from costscope.engine.call.settle import tell_downgraded
from costscope.engine.control.effects import NOTHING
from costscope.engine.enforcement.refusal_events import tell_above, tell_late
from costscope.engine.enforcement.thresholds import announce
from costscope.engine.enforcement.waiting import Patience
from costscope.engine.run.halting import halt_at_limit, ordered_to_stop
from costscope.engine.run.runaway_actions import act_on
from costscope.errors import DENIALS, BudgetExceeded
from costscope.ledger import Outcome, Read
from costscope.policy.model.controls import OnDenied
from costscope.stores.effects import Execute, Pause

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.engine.state.level_watch import Watch
    from costscope.policy.resolve.resolved import Watched
    from costscope.stores.effects import Steps


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


def sent_back(call: Call) -> Steps[bool]:
    """Give the hold back if it has shown that the call is not what it should be, since others have passed a threshold.

    So a process that has not asked for a long time, or never, is subject to what is in force all the same. Once a call:
    whoever goes on while others come and go around a level has been right for a moment.
    """
    if not _misjudged(call):
        return False
    scope, release = call.scope, taking_back(call)
    call.hold_id, call.sent_again, call.attempts = "", True, 0
    try:
        _, found = yield Execute((release, Read(release.accounts)))
    except BaseException:
        call.runtime.outbox.put(release)
        raise
    scope.seen(release.accounts, found)
    if call.detour is not None:
        call.detour.again(call)
    return True


def _misjudged(call: Call) -> bool:
    watch, run = call.scope.watch, call.scope.run
    if watch is None or call.sent_again or not call.hold_id:
        return False
    now = watch.effects(call.taken)
    if now.hold_up(in_run=run is not None, paced=call.paced):
        return True
    return call.detour is not None and call.detour.is_left(call)


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
            if DENIALS[error.kind].waits:
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


_ANSWER_S = 1.0
"""How long a call that makes its run suspect waits for the counts of all its processes."""


def aftermath(call: Call) -> Steps[None]:
    """See to what the settlement has brought about: thresholds that it crossed, a run that is suspect."""
    if call.moved:
        yield from _crossed(call)
    if call.suspicion is not None:
        yield from _suspected(call)


def _crossed(call: Call) -> Steps[None]:
    """A commit may take an account above a threshold, or back below one that is in force."""
    scope = call.scope
    watch = scope.watch
    call.moved = False
    if watch is None:
        return
    if not call.runtime.store.waits:  # which tells the balances with every reply
        (found,) = yield Execute((Read(call.accounts),))
        scope.seen(call.accounts, found)
    crossed = watch.crossed()
    if crossed:
        yield from announce(scope, watch, crossed)


def _suspected(call: Call) -> Steps[None]:
    """See to what the settlement has made this process suspect.

    Where several processes may work in the run, it waits until the board has been told of this call: it knows better,
    and whoever tells it acts on what it answers. If it does not answer, this process decides by what it knows.
    """
    suspicion, noted, call.suspicion, call.noted = call.suspicion, call.noted, None, None
    run = call.scope.run
    if suspicion is None or run is None:
        return
    if noted is not None:
        yield Pause(_ANSWER_S, noted)
        if noted.called:
            return
    yield from act_on(run, call.scope, suspicion)
