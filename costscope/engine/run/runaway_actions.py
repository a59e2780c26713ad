"""What is done about a run that seems out of control: claimed for all its processes, told, and put in force."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from costscope.engine.control.effects import effects_of_actions
from costscope.engine.enforcement.thresholds import webhooks_of
from costscope.engine.run.halting import halt_run
from costscope.errors import StoreUnavailable
from costscope.ledger import HALTS, Commit, new_id
from costscope.ledger.times import RUN_STATS_KEEP_MS, RUNAWAY_KEEP_MS
from costscope.observe.events.records import RunawayDetected, encode_event
from costscope.policy.model.actions import any_refuses
from costscope.stores.coordination.operations import CallCounts, Publish, RecordCall
from costscope.stores.effects import Ask, run_sync

if TYPE_CHECKING:
    from costscope.engine.control.runaway import Suspicion
    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.stores.effects import Steps, Wake

log = logging.getLogger("costscope")


def act_on(run: Run, scope: ScopeState, suspicion: Suspicion) -> Steps[None]:
    """Claim a runaway for all processes of the run, tell of it, and put its actions in force."""
    services = scope.services
    assert run.detector is not None, "who is suspected was watched"
    if not run.detector.claim(suspicion.reason):
        return
    actions = run.detector.rule.actions
    event = RunawayDetected(
        **scope.services.stamp(scope.labels),
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
        deliver=webhooks_of(actions, services.policy.webhooks),
    )
    claimed = True
    try:
        (first,) = yield Ask((publication,))
    except StoreUnavailable:
        log.warning("the runaway of run %s could not be claimed; it is told all the same", run.name)
        claimed, first = False, True
    apply_actions(run)
    if services.store.waits:
        flag = RecordCall(run.key, "", None, RUN_STATS_KEEP_MS, flag=suspicion.reason, counts=False)
        services.call_reports.put(flag, partial(_on_counts, run, scope))
    if any_refuses(actions, "run"):
        yield from halt_run(run, f"it seems out of control: {suspicion.detail}")
    if first:
        if any_refuses(actions, "new_runs"):
            _admit_no_more(scope)
        if claimed and publication.deliver:
            services.deliver()
        services.events.emit(
            event,
            scope.callbacks,
            published=claimed,
            once=publication.once,
            once_ms=publication.once_ms,
            deliver=publication.deliver,
        )


def report_call(
    run: Run, scope: ScopeState, digest: int, cost: int, *, failed: bool | None, wake: Wake | None
) -> None:
    """Let the board count a call that has ended, of a run in which other processes may work. Does not wait.

    `digest` is of the call's arguments, 0 for none; `wake` is called when the answer was acted on.
    """
    report = RecordCall(run.key, f"{digest:x}" if digest else "", failed, RUN_STATS_KEEP_MS, cost)
    scope.services.call_reports.put(report, partial(_on_counts, run, scope), wake)


def _on_counts(run: Run, scope: ScopeState, counts: CallCounts) -> None:
    """Act on what all processes of the run have counted; in the background."""
    detector = run.detector
    if detector is None:
        return
    for reason in counts.flags.split():
        if detector.claim(reason):
            apply_actions(run)
    suspicion = detector.on_board_answer(counts)
    if suspicion is not None:
        run_sync(act_on(run, scope, suspicion), scope.services.store)


def apply_actions(run: Run) -> None:
    """Return what the actions of a runaway change for this process's further calls in the run."""
    assert run.detector is not None, "who is suspected was watched"
    run.detector.effects = effects_of_actions(run.detector.rule.actions)


def _admit_no_more(scope: ScopeState) -> None:
    """Order the most specific budget over the run to admit no further ones, until it is reset."""
    services = scope.services
    admission = scope.resolve_budgets(services.now_ms()).admission
    first = next((account for account in admission if (HALTS, 0) in account.limits), None)
    if first is not None:
        services.outbox.put(Commit(new_id(), (first,), {HALTS: 1}, services.store.keep_ms))
