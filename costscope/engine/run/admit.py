"""The admission of a run: what is asked of the store, step by step."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from costscope.background.heartbeat import awake_s
from costscope.engine.enforcement.refusal_events import tell_refused
from costscope.engine.enforcement.refusals import exceeded, forbids_runs
from costscope.engine.enforcement.thresholds import notice
from costscope.engine.enforcement.waiting import Patience
from costscope.engine.enforcement.wall_clocks import late, opened_mark
from costscope.engine.run.end import ADMISSION
from costscope.engine.run.halting import ordered_to_stop
from costscope.engine.state.run import SLOT_LOST
from costscope.errors import DENIALS, BudgetExceeded, CallDenied, StoreUnavailable
from costscope.ledger import MAX_AMOUNT, Outcome, Read, Release, Reserve, new_id
from costscope.ledger.meters import ADMISSION_METERS
from costscope.ledger.times import FIRST_KEEP_MS
from costscope.observe.events.records import RunStarted
from costscope.policy.model.controls import OnDenied
from costscope.stores.coordination import First
from costscope.stores.effects import Ask, Execute

if TYPE_CHECKING:
    from costscope.engine.state.run import Run
    from costscope.ledger import Account, Reply
    from costscope.scope.scope import Scope
    from costscope.stores.effects import Steps

__all__ = ["admit", "started"]

_ATTEMPTS: Final = 3
_SLOT: Final = "concurrent_runs"


def admit(run: Run, scope: Scope) -> Steps[None]:
    """Admit a run: one reserve that counts it, takes its slots, and is refused by any level that forbids new runs.

    Raises:
        BudgetExceeded, RunHalted: refused; nothing is held.
        StoreUnavailable: the books could not be reached, and a budget over the run fails closed.
    """
    try:
        yield from _hold(run, scope)
        yield from _noticed(run, scope)
        started(run, scope)
    except CallDenied as error:
        _give_back(run)
        if not (isinstance(error, StoreUnavailable) and scope.fail_open):
            run.status, run.reason = "halted", error.kind
            tell_refused(scope, "run", run.name, error)
            raise
        started(run, scope)
    except Exception:
        raise
    except BaseException:
        _give_back(run)
        raise
    if run.joined and run.clock_ms is not None:
        yield from _learn_clock(run)


def _hold(run: Run, scope: Scope) -> Steps[None]:
    """Try until the admission stands, or there is nothing to wait for.

    Raises:
        CallDenied: there is not.
    """
    patience: Patience | None = None
    try:
        while (error := (yield from _tried(run, scope, patience))) is not None:
            if isinstance(error, BudgetExceeded) and DENIALS[error.kind].waits:
                patience = patience or Patience.of(run.runtime, scope.on_denied(error.budget) or OnDenied())
                if patience is not None and (yield from patience.wait(run.accounts)):
                    continue
            raise error
    finally:
        if patience is not None:
            patience.over()


def _tried(run: Run, scope: Scope, patience: Patience | None) -> Steps[CallDenied | None]:
    """One attempt; what refused it."""
    runtime = run.runtime
    for _ in range(_ATTEMPTS):
        now_ms = runtime.now_ms()
        accounts = _accounts(run, scope, now_ms)
        if not accounts:
            return None
        run.accounts, run.hold_id, sent_s = accounts, ADMISSION + new_id(now_ms), awake_s()
        ticket, wait_ms = ("", 0) if patience is None else (patience.ticket, patience.asks(accounts))
        reply: Reply = yield from _asked(scope, _reserve(run, ticket, wait_ms), now_ms)
        if patience is not None:
            patience.told(reply)
        if reply.outcome is Outcome.GRANTED:
            _keep_up(run, scope, sent_s)
            run.admitted = reply
            return None
        run.hold_id = ""
        if reply.outcome is not Outcome.WRONG_WINDOW:
            break
        runtime.learn_time(reply.now_ms)
    return _refusal(run, reply)


def _asked(scope: Scope, reserve: Reserve, now_ms: int) -> Steps[Reply]:
    """Ask for the admission and see in the same request how the budgets of calls stand, so that the first is not blind."""
    calls = scope.accounts(now_ms) if scope.runtime.store.waits else ()
    if not calls:
        return (yield Execute((reserve,)))[0]  # type: ignore[no-any-return]  # as `Steps` says
    reply, found = yield Execute((reserve, Read(calls)))
    scope.seen(calls, found)
    return reply  # type: ignore[no-any-return]  # as above


def _noticed(run: Run, scope: Scope) -> Steps[None]:
    """What has come about by the admission: thresholds that are crossed, limits that are passed."""
    reply, run.admitted = run.admitted, None
    watch = scope.admitting() if reply is not None else None
    if reply is None or watch is None:
        return
    taken = _reserve(run, "", 0).amounts
    if reply.balances:
        own = len(run.accounts) - len(watch.accounts)
        for view, balance in zip(watch.views, reply.balances[own:], strict=True):
            view.balance = balance
    else:
        watch.below(taken)
    yield from notice(scope, watch, "run", run.name, taken)


def started(run: Run, scope: Scope) -> None:
    """The run goes on from here, in this process."""
    runtime = run.runtime
    run.begun, run.opened_s, run.admitted_ms = True, monotonic(), runtime.now_ms()
    if run.clock_ms is not None:
        run.ends_at(run.admitted_ms + run.clock_ms, late(run))
        if not run.joined:
            # Whoever joins finds it there; this process asks at its first call.
            runtime.publisher.remember(First(opened_mark(run.key), str(run.admitted_ms), FIRST_KEEP_MS))
    if not run.joined:
        scope.emit(RunStarted(**scope.stamp(), run=run.name))


def _accounts(run: Run, scope: Scope, now_ms: int) -> tuple[Account, ...]:
    if run.joined:
        return ()
    own = () if run.account is None else (run.account,)
    return (*own, *scope.admission(now_ms))


def _refusal(run: Run, reply: Reply) -> CallDenied:
    denial = reply.denial
    if denial is None or reply.outcome is not Outcome.DENIED:
        msg = f"run {run.name}: the store answered {reply.outcome.name.lower()}; its clock does not agree with ours"
        return StoreUnavailable(msg)
    if run.account is not None and denial.account == 0:
        halted = ordered_to_stop(run, denial.meter)
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
        run.hold_id, run.accounts, amounts, run.runtime.heart.lease_ms, ticket=ticket, wait_ms=wait_ms
    )


def _keep_up(run: Run, scope: Scope, since_s: float) -> None:
    """From here on the heart renews the admission. A run that has a place which others want stops without it."""
    heart, places = run.runtime.heart, (limit for a in run.accounts for m, limit in a.limits if m == _SLOT)
    if any(limit < MAX_AMOUNT for limit in places):
        run.beat = heart.add(
            run.hold_id,
            since_s,
            lambda: _slot_lost(run),
            strict=not scope.fail_open,
        )
    else:
        heart.add(run.hold_id, since_s)


def _slot_lost(run: Run) -> None:
    run.halt(SLOT_LOST, interrupt=True)


def _learn_clock(run: Run) -> Steps[None]:
    """When the run was admitted, as its other processes know it."""
    assert run.clock_ms is not None, "only asked of a run with a clock"
    try:
        answers = yield Ask((First(opened_mark(run.key), str(run.admitted_ms), FIRST_KEEP_MS),))
    except StoreUnavailable:
        return  # the first call asks again
    run.opened_ms = int(answers[0])
    run.ends_at(run.opened_ms + run.clock_ms, late(run))


def _give_back(run: Run) -> None:
    if run.hold_id:
        run.runtime.heart.drop(run.hold_id)
        run.runtime.outbox.put(Release(run.hold_id, run.accounts, run.runtime.store.keep_ms))
        run.hold_id = ""
