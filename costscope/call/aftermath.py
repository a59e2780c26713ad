"""What a settled call means for the run it was made in: runaways, and what is done about them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from costscope.board import Publish
from costscope.control.effects import Effects
from costscope.enforcement.announce import announce, webhooks_of
from costscope.errors import StoreUnavailable
from costscope.events.records import RunawayDetected, encode_event
from costscope.ledger import HALTS, Commit, Read, new_id
from costscope.run.lifecycle import order_to_stop
from costscope.stores.steps import Ask, Execute, Pause

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.control.runaway import Suspicion
    from costscope.run.run import Run
    from costscope.scope.scope import Scope
    from costscope.stores.steps import Steps

__all__ = ["act_on", "aftermath", "put_in_force"]

_ANSWER_S = 1.0
"""How long a call that makes its run suspect waits for the counts of all its processes."""

_ONCE_MS = 35 * 86_400_000
"""As long as a run's account is kept."""

log = logging.getLogger("costscope")


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


def act_on(run: Run, scope: Scope, suspicion: Suspicion) -> Steps[None]:
    """Claim a runaway for all processes of the run, tell of it, and put its actions in force."""
    runtime = scope.runtime
    assert run.detector is not None, "who is suspected was watched"
    if not run.detector.claim(suspicion.reason):
        return
    actions = run.detector.rule.actions
    event = RunawayDetected(
        **scope.stamp(),
        run=run.name,
        reason=suspicion.reason,
        detail=suspicion.detail,
        measured=suspicion.measured,
        allowed=suspicion.allowed,
        actions=tuple(action.do for action in actions),
    )
    publication = Publish(
        event.id,
        encode_event(event),
        once=f"{run.key}#runaway:{suspicion.reason}",
        once_ms=_ONCE_MS,
        deliver=webhooks_of(actions, runtime.policy.webhooks),
    )
    claimed = True
    try:
        (first,) = yield Ask((publication,))
    except StoreUnavailable:
        log.warning("the runaway of run %s could not be claimed; it is told all the same", run.name)
        claimed, first = False, True
    put_in_force(run)
    if runtime.store.waits:
        runtime.notes.flag(run, scope, suspicion.reason)
    kinds = {action.do for action in actions}
    if "halt_run" in kinds:
        yield from order_to_stop(run, f"it seems out of control: {suspicion.detail}")
    if first:
        if "halt_new_runs" in kinds:
            _admit_no_more(scope)
        if claimed and publication.deliver:
            runtime.deliver()
        runtime.events.emit(
            event,
            scope.callbacks,
            published=claimed,
            once=publication.once,
            once_ms=publication.once_ms,
            deliver=publication.deliver,
        )


def put_in_force(run: Run) -> None:
    """What the actions of a runaway change for this process's further calls in the run."""
    assert run.detector is not None, "who is suspected was watched"
    actions = run.detector.rule.actions
    run.detector.effects = Effects(
        downgrade=any(action.do == "downgrade_model" for action in actions),
        model=next((action.model for action in actions if action.model), None),
        max_tokens=tuple(action.max_tokens for action in actions if action.max_tokens is not None),
        iterations=tuple(action.iterations for action in actions if action.iterations is not None),
        brake=next((action for action in actions if action.do == "throttle"), None),
    )


def _admit_no_more(scope: Scope) -> None:
    """Order the most specific budget over the run to admit no further ones, until it is reset."""
    admission = [a for a in scope.covered(scope.runtime.now_ms()).admission if (HALTS, 0) in a.limits]
    if admission:
        first = admission[0]
        order = Commit(new_id(), (first,), {HALTS: 1}, scope.runtime.store.keep_ms)
        scope.runtime.outbox.put(order)
