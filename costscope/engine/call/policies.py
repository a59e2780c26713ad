"""Reserving a call over which policies act: clocks, effects, waiting, fallbacks; then what has come about by it.

Most calls need none of it, even where policies act: they go straight through `costscope.engine.call.drive`, which asks
here whether anything is to be seen to before (`needs_preflight`) or after (`needs_followup`) the reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.call.preflight import check_preconditions
from costscope.engine.control.effects import NOTHING
from costscope.engine.enforcement.refusal_events import emit_above, emit_late
from costscope.engine.enforcement.thresholds import announce
from costscope.engine.enforcement.waiting import QueuePlace
from costscope.engine.run.halting import halt_at_limit, halted_by_order
from costscope.engine.state.activity import Activity
from costscope.errors import DENIALS, BudgetExceeded
from costscope.ledger import Read
from costscope.observe.events.records import Downgraded
from costscope.policy.model.controls import OnDenied
from costscope.stores.effects import Execute

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.stores.effects import Steps


def needs_preflight(call: Call) -> bool:
    """Return True if something may refuse, hold up or change the call before it is reserved."""
    scope = call.scope
    run, watch = scope.run, scope.watch
    if run is not None and (run.effects.brake is not None or not run.goes_on):
        return True
    if run is not None and run.clock_ms is not None and not run.is_in_time(call.services.now_ms()):
        return True
    if scope.clocked:
        return True
    if watch is None or not watch.above():
        call.stay_below(watch)
        return False
    return watch.effects() is not NOTHING


def needs_followup(call: Call) -> bool:
    """Return True if something may be told of the call now that its hold stands."""
    if call.route is not None or call.late or call.refused is not None or call.lease is not None:
        return True
    run, watch = call.scope.run, call.scope.watch
    if run is not None and not run.goes_on:
        return True
    return watch is not call.below and watch is not None and watch.above()


def follow_reserve(call: Call) -> Steps[None]:
    """See to the first attempt: tell of it, or do something about its refusal.

    Raises:
        CallDenied: refused; nothing is held, unless it is that the store cannot be reached.
    """
    if (
        call.refused is not None
        or (call.lease is not None and call.withdraw_late())
        or (yield from _re_reserve(call))
    ):
        yield from reserve_enforced(call)
    else:
        yield from _follow_hold(call)


def reserve_enforced(call: Call) -> Steps[None]:
    """Hold the call's estimate; go on from the refusal of its first attempt, if one was made.

    Raises:
        CallDenied: refused; nothing is held, unless it is that the store cannot be reached.
    """
    try:
        yield from _hold(call)
    except BudgetExceeded as error:
        yield from halt_at_limit(call.scope, error)
        raise
    yield from _follow_hold(call)


def _hold(call: Call) -> Steps[None]:
    """Try until the hold stands, or nothing is left to try.

    Raises:
        CallDenied: nothing is.
    """
    place: QueuePlace | None = None
    error = call.take_refusal()
    try:
        while True:
            if error is None:
                error = yield from _attempt(call, place)
            if error is None:
                late = call.lease is not None and call.withdraw_late()
                if not late and not (yield from _re_reserve(call)):
                    return
                call.try_anew()
                continue
            halted = halted_by_order(call.scope.run, error.meter)
            if halted is not None:
                raise halted
            if _fall_back(call, error):
                error = None
                continue
            if DENIALS[error.kind].waits:
                said = call.on_denied or call.scope.on_denied(error.budget) or OnDenied()
                place = place or QueuePlace.of(call.services, said)
                if place is not None and (yield from place.wait(call.accounts)):
                    call.try_anew()
                    error = None
                    continue
            raise error
    finally:
        if place is not None:
            place.leave()


def _attempt(call: Call, place: QueuePlace | None) -> Steps[BudgetExceeded | None]:
    """Make one attempt; return what refused it, if something may be done about that.

    Raises:
        CallDenied: refused for good.
    """
    yield from check_preconditions(call)
    command = call.reserve_command(place)
    while command is not None:
        reply = (yield Execute((command,)))[0]
        if place is not None:
            place.on_reply(reply)
        command = call.on_reserve_reply(reply)
    return call.take_refusal()


def _fall_back(call: Call, error: BudgetExceeded) -> bool:
    """Send the call to a cheaper model where the budget that refuses it wants that; return whether there is one."""
    budget = call.services.rules.budget(error.budget)
    if budget is None or budget.on_limit != "downgrade_then_reject" or call.routes is None:
        return False
    route = call.routes.next_fallback(call.routing)
    if route is None:
        return False
    call.send_to(route, fallback=True)
    return True


def _re_reserve(call: Call) -> Steps[bool]:
    """Give the hold back if it has shown that the call should have been judged otherwise; return whether it has.

    The balances that came with it tell that others have passed a threshold. So a process that has not asked for a long
    time, or never, is subject to what is in force all the same. Once a call: one that goes on while others come and go
    around a level has been right for a moment.
    """
    if not _is_misjudged(call):
        return False
    scope, release = call.scope, call.withdraw_once()
    try:
        _, found = yield Execute((release, Read(release.accounts)))
    except BaseException:
        call.services.outbox.put(release)
        raise
    scope.record_balances(release.accounts, found)
    if call.routes is not None and not call.fell_back:
        call.send_to(call.routes.best())
    return True


def _is_misjudged(call: Call) -> bool:
    watch, run = call.scope.watch, call.scope.run
    if watch is None or call.rechecked or not call.hold_id:
        return False
    taken = {**call.amounts, **call.scope.extra}
    now = watch.effects(taken)
    if now is not NOTHING and now.holds_up(in_run=run is not None, paced=call.paced):
        return True
    if call.routes is None or call.fell_back:
        return False
    return call.routes.is_outdated(call.routing, taken)


def _follow_hold(call: Call) -> Steps[None]:
    """See to what has come about by the hold."""
    try:
        if call.scope.run is not None:
            call.scope.run.check()  # this process may have slept since it asked for the hold
        yield from _emit_changes(call)
    except BaseException:  # halted or cancelled with the hold in hand: the function will not be called
        call.abandon()
        raise


def _emit_changes(call: Call) -> Steps[None]:
    """Tell of thresholds that are crossed, limits that are passed, another model."""
    if call.route is not None and call.route.asked:
        _emit_downgraded(call)
    if call.late:
        call.mark_degraded(tuple(late.budget.id for late in call.late if late.budget.enforcement != "shadow"))
        for late in call.late:
            emit_late(call.scope, call.kind, call.name, late)
    watch = call.scope.watch
    if watch is None:
        return
    crossed, over = watch.take_crossed(), watch.passed_limits()
    if crossed:
        yield from announce(call.scope, watch, crossed)
    if over:
        taken = call.taken
        above = [watched for watched in over if watched.level.meter in taken]
        call.mark_degraded(
            tuple(watched.budget.id for watched in above if watched.budget.enforcement != "shadow")
        )
        for watched in above:
            emit_above(call.scope, call.kind, call.name, watch, watched, taken[watched.level.meter])


def _emit_downgraded(call: Call) -> None:
    """Tell of a call that goes to another model, or with a lower cap, than it asked for."""
    scope, route = call.scope, call.route
    assert route is not None, "only routed calls are sent elsewhere"
    scope.history.add(Activity(downgrades=1, saved_nano=max(route.saved or 0, 0)))
    scope.emit(
        Downgraded(
            **scope.services.stamp(scope.labels),
            asked=route.asked,
            effective=call.name,
            reason=route.routing.reason if call.name != route.asked else route.routing.cap_reason,
            stage=call.stage,
            max_tokens=route.capped,
            saved=route.saved,
        )
    )
