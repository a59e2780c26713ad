"""The life of a run, step by step: what is asked of the store for its admission, and what gives its slots back."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from costscope.background.heartbeat import awake_s
from costscope.engine.enforcement.refusal_events import emit_refused
from costscope.engine.enforcement.refusals import budget_exceeded, forbids_runs
from costscope.engine.enforcement.thresholds import announce_changes
from costscope.engine.enforcement.waiting import QueuePlace
from costscope.engine.enforcement.wall_clocks import late, opened_mark
from costscope.engine.run.halting import halted_by_order
from costscope.engine.state.run import SLOT_LOST, ended_mark, status_of
from costscope.errors import DENIALS, BudgetExceeded, CallDenied, StoreUnavailable
from costscope.ledger import MAX_AMOUNT, Commit, Outcome, Read, Release, Reserve, new_id
from costscope.ledger.meters import ADMISSION_METERS
from costscope.ledger.times import ENDED_MS, ONCE_KEEP_MS
from costscope.observe.events.records import RunEnded, RunStarted
from costscope.policy import INLINE_BUDGET, RUN_BUDGET, encode
from costscope.policy.model.controls import OnDenied
from costscope.stores.coordination.operations import SetOnce
from costscope.stores.effects import Ask, Execute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.engine.state.services import Services
    from costscope.ledger import LostHold, Reply
    from costscope.stores.effects import Steps

ADMISSION: Final = "run-"
"""What the ids of admissions begin with, so that a lost one is known for what it is."""

_ATTEMPTS: Final = 3
_SLOT: Final = "concurrent_runs"
_PREFIXES: Final = tuple(f"{encode(budget)}/" for budget in (RUN_BUDGET, INLINE_BUDGET))


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
    if not scope.watches_admission:
        return
    watch = scope.admission_watch()
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
            # A process that joins finds it there; this one asks at its first call.
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
    return budget_exceeded(f"run {run.name}", run.accounts, reply)


def _reserve(run: Run, ticket: str, wait_ms: int) -> Reserve:
    # Of meters whose level forbids new runs, and of orders to stop, nothing is asked: it is enough that they are met.
    amounts = {meter: 0 for account in run.accounts for meter, _ in account.limits}
    amounts |= dict.fromkeys(ADMISSION_METERS, 1)
    lease_ms = run.services.lease_renewer.lease_ms
    return Reserve(run.hold_id, run.accounts, amounts, lease_ms, ticket=ticket, wait_ms=wait_ms)


def _keep_up(run: Run, scope: ScopeState, since_s: float) -> None:
    """Let the renewer renew the admission from here on. A run that has a place which others want stops without it."""
    renewer = run.services.lease_renewer
    if any(limit < MAX_AMOUNT for a in run.accounts for m, limit in a.limits if m == _SLOT):
        on_lost = partial(run.halt, SLOT_LOST, interrupt=True)
        run.lease = renewer.add(run.hold_id, since_s, on_lost, strict=not scope.fail_open)
    else:
        renewer.add(run.hold_id, since_s)


def _learn_clock(run: Run) -> Steps[None]:
    """Learn when the run was admitted, as its other processes know it."""
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


def leave_scope(scope: ScopeState, error: BaseException | None = None) -> Steps[None]:
    """Leave a scope; a run that it opened gives back its slots at once, which may take a moment."""
    if scope.closed:
        return
    command = _end_run(scope, error)
    scope.leave(error)
    if command is None:
        return
    services = scope.services
    try:
        yield Execute((command,))
    except Exception:  # noqa: BLE001 - the run is over in any case
        services.outbox.put(command)
    except BaseException:
        if services.store.waits:  # else it has been applied already
            services.outbox.put(command)
        raise
    if services.wait_list:
        services.wait_list.wake(command.accounts)


def close_scope(scope: ScopeState, error: BaseException | None = None) -> None:
    """Leave a scope from any context, without waiting for anything."""
    if scope.closed:
        return
    command = _end_run(scope, error)
    scope.leave(error)
    if command is not None:
        scope.services.outbox.put(command)


def _end_run(scope: ScopeState, error: BaseException | None) -> Commit | None:
    """End the run that the scope opened, if it did, and return the command that gives its slots back."""
    run = scope.run
    if run is None or not scope.opens_run or not run.begun or run.inherited:
        return None
    services, hold_id = run.services, run.hold_id
    once = ended_mark(run.key, hold_id) if hold_id else ""
    if run.status is None:
        run.status = status_of(error)
        run.reason = "" if error is None else type(error).__name__
    command: Commit | None = None
    if hold_id:
        services.lease_renewer.drop(hold_id)
        command = Commit(hold_id, run.accounts, {"runs": 1}, services.store.keep_ms)
        run.hold_id = ""
    if not run.joined:
        event = RunEnded(
            **scope.services.stamp(scope.labels),
            run=run.name,
            status=run.status,
            reason=run.reason,
            cost=run.cost,
            seconds=monotonic() - run.opened_s,
            iterations=run.iterations,
        )
        services.events.emit(event, scope.callbacks, once=once, once_ms=ENDED_MS)
    return command


def emit_abandoned(services: Services, lost: Iterable[LostHold]) -> None:
    """Tell of the runs that have been abandoned, once over all processes.

    An admission holds on the run's own account first, whose key has the labels; its id tells it from a call in the run,
    whose loss says nothing about the run.
    """
    for hold in lost:
        if not hold.id.startswith(ADMISSION) or not (account := hold.accounts[0]).startswith(_PREFIXES):
            continue
        place = account.partition("/")[2].rpartition("/")[0]
        parts = [part.split("=", 1) for part in place.split(",") if "=" in part]
        labels = {name: unquote(value) for name, value in parts}
        if "run" not in labels or services.lease_renewer.keeps(hold.id):
            continue  # it is no run, or alive, here, and finds out by itself
        event = RunEnded(
            **services.stamp(labels),
            run=labels["run"],
            status="abandoned",
            reason="its process was silent for longer than its lease",
        )
        services.events.emit(event, once=ended_mark(account, hold.id), once_ms=ENDED_MS)
