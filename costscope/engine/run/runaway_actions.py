"""What is done about a run that seems out of control: claimed for all its processes, told, and put in force."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from costscope.engine.control.effects import effects_of_actions
from costscope.engine.enforcement.thresholds import webhooks_of
from costscope.engine.run.halting import order_to_stop
from costscope.errors import StoreUnavailable
from costscope.ledger import HALTS, Commit, new_id
from costscope.ledger.times import RUNAWAY_KEEP_MS
from costscope.observe.events.records import RunawayDetected, encode_event
from costscope.policy.actions import any_refuses
from costscope.stores.coordination import Publish
from costscope.stores.effects import Ask

if TYPE_CHECKING:
    from costscope.engine.control.runaway import Suspicion
    from costscope.engine.state.run import Run
    from costscope.scope.scope import Scope
    from costscope.stores.effects import Steps

__all__ = ["act_on", "put_in_force"]

log = logging.getLogger("costscope")


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
        once_ms=RUNAWAY_KEEP_MS,
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
    if any_refuses(actions, "run"):
        yield from order_to_stop(run, f"it seems out of control: {suspicion.detail}")
    if first:
        if any_refuses(actions, "new_runs"):
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
    run.detector.effects = effects_of_actions(run.detector.rule.actions)


def _admit_no_more(scope: Scope) -> None:
    """Order the most specific budget over the run to admit no further ones, until it is reset."""
    admission = [a for a in scope.covered(scope.runtime.now_ms()).admission if (HALTS, 0) in a.limits]
    if admission:
        first = admission[0]
        order = Commit(new_id(), (first,), {HALTS: 1}, scope.runtime.store.keep_ms)
        scope.runtime.outbox.put(order)
