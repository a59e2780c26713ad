"""The admission of a run: what is asked of the store, step by step."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from costscope.background.heartbeat import awake_s
from costscope.engine.enforcement.refusal_events import emit_refused
from costscope.engine.enforcement.refusals import exceeded, forbids_runs
from costscope.engine.enforcement.thresholds import announce_changes
from costscope.engine.enforcement.waiting import QueuePlace
from costscope.engine.enforcement.wall_clocks import late, opened_mark
from costscope.engine.run.end import ADMISSION
from costscope.engine.run.halting import halted_by_order
from costscope.engine.state.run import SLOT_LOST
from costscope.errors import DENIALS, BudgetExceeded, CallDenied, StoreUnavailable
from costscope.ledger import MAX_AMOUNT, Outcome, Read, Release, Reserve, new_id
from costscope.ledger.meters import ADMISSION_METERS
from costscope.ledger.times import ONCE_KEEP_MS
from costscope.observe.events.records import RunStarted
from costscope.policy.model.controls import OnDenied
from costscope.stores.coordination.operations import SetOnce
from costscope.stores.effects import Ask, Execute

if TYPE_CHECKING:
    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.ledger import Reply
    from costscope.stores.effects import Steps

_ATTEMPTS: Final = 3
_SLOT: Final = "concurrent_runs"


def admit_run(scope: ScopeState) -> Steps[None]:
    """Admit the run that a scope opens; a scope that was refused is closed.

    One reserve counts it, takes its slots, and is refused by any level that forbids new runs.

    Raises:
        BudgetExceeded, RunHalted: refused; nothing is held.
        StoreUnavailable: the books could not be reached, and a budget over the run fails closed.
    """
    run = scope.run
    assert run is not None, "only a scope with a run opens one"
    try:
        admitted = yield from _hold(run, scope)
        if admitted is not None:
            yield from _announce_crossed(run, scope, admitted)
        _start(run, scope)
    except CallDenied as error:
        _give_back(run)
        if not (isinstance(error, StoreUnavailable) and scope.fail_open):
            run.status, run.reason, scope.closed = "halted", error.kind, True
            emit_refused(scope, "run", run.name, error)
            raise
        _start(run, scope)
    except Exception:
        scope.closed = True
        raise
    except BaseException:
        scope.closed = True
        _give_back(run)
        raise
    if run.joined and run.clock_ms is not None:
        yield from _learn_clock(run)


def _hold(run: Run, scope: ScopeState) -> Steps[Reply | None]:
    """Try until the admission stands, or there is nothing to wait for; return the answer, None if nothing was asked.

    Raises:
        CallDenied: there is not.
    """
    place: QueuePlace | None = None
    try:
        while isinstance(error := (yield from _attempt(run, scope, place)), CallDenied):
            if isinstance(error, BudgetExceeded) and DENIALS[error.kind].waits:
                place = place or QueuePlace.of(run.services, scope.on_denied(error.budget) or OnDenied())
                if place is not None and (yield from place.wait(run.accounts)):
                    continue
            raise error
        return error
    finally:
        if place is not None:
            place.leave()


def _attempt(run: Run, scope: ScopeState, place: QueuePlace | None) -> Steps[Reply | CallDenied | None]:
    """Make one attempt; return the answer, None if nothing was to be asked, or what refused it."""
    services = run.services
    for _ in range(_ATTEMPTS):
        now_ms = services.now_ms()
        if run.joined:
            return None
        admission = scope.resolve_budgets(now_ms).admission
        accounts = admission if run.account is None else (run.account, *admission)
        if not accounts:
            return None
        run.accounts, run.hold_id, sent_s = accounts, ADMISSION + new_id(now_ms), awake_s()
        ticket, wait_ms = ("", 0) if place is None else (place.ticket, place.honour_ms(accounts))
        reply: Reply = yield from _ask(scope, _reserve(run, ticket, wait_ms), now_ms)
        if place is not None:
            place.on_reply(reply)
        if reply.outcome is Outcome.GRANTED:
            _keep_up(run, scope, sent_s)
            return reply
        run.hold_id = ""
        if reply.outcome is not Outcome.WRONG_WINDOW:
            break
        services.learn_time(reply.now_ms)
    return _refusal(run, reply)


def _ask(scope: ScopeState, reserve: Reserve, now_ms: int) -> Steps[Reply]:
    """Ask for the admission and see in the same request how the budgets of calls stand, so that the first is not blind."""
    calls = scope.accounts(now_ms) if scope.services.store.waits else ()
    if not calls:
        return (yield Execute((reserve,)))[0]  # type: ignore[no-any-return]  # as `Steps` says
    reply, found = yield Execute((reserve, Read(calls)))
    scope.record_balances(calls, found)
    return reply  # type: ignore[no-any-return]  # as above


def _announce_crossed(run: Run, scope: ScopeState, reply: Reply) -> Steps[None]:
    """Announce what has come about by the admission: thresholds that are crossed, limits that are passed."""
    watch = scope.admission_watch()
    if watch is None:
        return
    taken = _reserve(run, "", 0).amounts
    if reply.balances:
        own = len(run.accounts) - len(watch.accounts)
        for view, balance in zip(watch.views, reply.balances[own:], strict=True):
            view.balance = balance
    else:
        watch.below(taken)
    yield from announce_changes(scope, watch, "run", run.name, taken)


def _start(run: Run, scope: ScopeState) -> None:
    """Let the run go on from here, in this process."""
    services = run.services
    run.begun, run.opened_s, run.admitted_ms = True, monotonic(), services.now_ms()
    if run.clock_ms is not None:
        run.ends_at(run.admitted_ms + run.clock_ms, late(run))
        if not run.joined:
            # Whoever joins finds it there; this process asks at its first call.
            services.publisher.remember(SetOnce(opened_mark(run.key), str(run.admitted_ms), ONCE_KEEP_MS))
    if not run.joined:
        event = RunStarted(**services.stamp(scope.labels), run=run.name)
        services.events.emit(event, scope.callbacks)


def _refusal(run: Run, reply: Reply) -> CallDenied:
    denial = reply.denial
    if denial is None or reply.outcome is not Outcome.DENIED:
        msg = f"run {run.name}: the store answered {reply.outcome.name.lower()}; its clock does not agree with ours"
        return StoreUnavailable(msg)
    if run.account is not None and denial.account == 0:
        halted = halted_by_order(run, denial.meter)
        if halted is not None:
            return halted
    if denial.requested == 0:
        return forbids_runs(run.name, run.accounts, reply)
    return exceeded(f"run {run.name}", run.accounts, reply)


def _reserve(run: Run, ticket: str, wait_ms: int) -> Reserve:
    # Of meters whose level forbids new runs, and of orders to stop, nothing is asked: it is enough that they are met.
    amounts = {meter: 0 for account in run.accounts for meter, _ in account.limits}
    amounts |= dict.fromkeys(ADMISSION_METERS, 1)
    return Reserve(
        run.hold_id,
        run.accounts,
        amounts,
        run.services.lease_renewer.lease_ms,
        ticket=ticket,
        wait_ms=wait_ms,
    )


def _keep_up(run: Run, scope: ScopeState, since_s: float) -> None:
    """From here on the renewer renews the admission. A run that has a place which others want stops without it."""
    renewer, places = (
        run.services.lease_renewer,
        (limit for a in run.accounts for m, limit in a.limits if m == _SLOT),
    )
    if any(limit < MAX_AMOUNT for limit in places):
        run.lease = renewer.add(
            run.hold_id,
            since_s,
            lambda: _slot_lost(run),
            strict=not scope.fail_open,
        )
    else:
        renewer.add(run.hold_id, since_s)


def _slot_lost(run: Run) -> None:
    run.halt(SLOT_LOST, interrupt=True)


def _learn_clock(run: Run) -> Steps[None]:
    """When the run was admitted, as its other processes know it."""
    assert run.clock_ms is not None, "only asked of a run with a clock"
    try:
        answers = yield Ask((SetOnce(opened_mark(run.key), str(run.admitted_ms), ONCE_KEEP_MS),))
    except StoreUnavailable:
        return  # the first call asks again
    run.opened_ms = int(answers[0])
    run.ends_at(run.opened_ms + run.clock_ms, late(run))


def _give_back(run: Run) -> None:
    if run.hold_id:
        run.services.lease_renewer.drop(run.hold_id)
        run.services.outbox.put(Release(run.hold_id, run.accounts, run.services.store.keep_ms))
        run.hold_id = ""
