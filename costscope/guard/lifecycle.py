"""The hooks around a run and its iterations, as procedures."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast, get_args

from costscope.engine.call.drive import rescue, settle_steps
from costscope.engine.run.iterations import Iteration
from costscope.engine.run.run_life import admit_run, close_scope, leave_scope
from costscope.engine.state.run import status_of
from costscope.errors import CallDenied, InvalidInput, InvalidLabel, StoreUnavailable
from costscope.guard.answers import allow, decide_next, deny, describe_denial, describe_scope
from costscope.guard.decisions import AdmissionDecision, IterationDecision, RunSummary, SettledDecision
from costscope.guard.open_runs import OpenRun
from costscope.ledger import Read
from costscope.observe.events.records import RunStatus
from costscope.policy.model.patterns import STANDING_LEVELS
from costscope.scope.budget_scope import budget_scope, new_scope
from costscope.scope.summary import summary
from costscope.stores.effects import Execute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.state.scope_state import ScopeState
    from costscope.guard.open_runs import OpenCall, Runs
    from costscope.scope.runtime import Runtime
    from costscope.stores.effects import Steps

log = logging.getLogger("costscope")


def run_starts(
    runs: Runs, runtime: Runtime, run_id: str, metadata: Mapping[str, Any] | None, given: Mapping[str, Any]
) -> Steps[AdmissionDecision]:
    """Have a run admitted, inside the scope that is open where its hook is called.

    Raises:
        HookRepeated: it is open already.
        InvalidInput, InvalidLabel: something given cannot be used.
    """
    keywords = _scope_keywords(given)
    runs.claim(run_id)
    try:
        scope = new_scope(runtime, **keywords, run=run_id)
        opened = OpenRun(run_id, scope, metadata or {})
        try:
            if scope.opens_run:
                yield from admit_run(scope)
        except CallDenied as error:
            runs.drop(run_id)
            return deny(AdmissionDecision, opened, error)
        try:
            yield from _read_balances(scope)
            runs.open(opened)
            return allow(AdmissionDecision, opened)
        except BaseException as error:  # cancelled with its slots in hand: no one will ever end it
            close_scope(scope, error)
            raise
    except BaseException:
        runs.drop(run_id)
        raise


def iteration_begins(opened: OpenRun) -> Steps[IterationDecision]:
    """Count a turn of the run's loop, or refuse it."""
    iteration = Iteration(opened.scope)
    try:
        yield from iteration.begin()
    except CallDenied as error:
        return deny(IterationDecision, opened, error)
    return allow(IterationDecision, opened, iteration=opened.turn_begins(iteration))


def iteration_ends(opened: OpenRun, number: int | None) -> Steps[SettledDecision]:
    """End a turn of the run's loop.

    Raises:
        CallUnknown: it was not begun.
    """
    yield from opened.turn_ends(number).end()
    return decide_next(SettledDecision, opened)


def run_ends(
    runs: Runs, opened: OpenRun, status: str | None, reason: str, error: BaseException | None
) -> Steps[RunSummary]:
    """Charge what is still open, give back the run's slots, and say how it went.

    Raises:
        RunUnknown: it has ended meanwhile.
    """
    calls, turns = opened.close()
    runs.drop(opened.run_id)
    scope = opened.scope
    try:
        for one in calls:
            yield from _charge_call(opened, one)
        for turn in turns:
            yield from turn.end()
        ended = _end_status(opened, status, reason, error)
        figures = describe_scope(scope)
        yield from leave_scope(scope, error or (None if ended[0] == "completed" else RuntimeError(ended[1])))
    except BaseException:
        for one in calls:
            if one.call is not None:
                rescue(one.call)
        close_scope(scope, error)
        raise
    return _summary(opened, ended, len(calls), figures)


def _read_balances(scope: ScopeState) -> Steps[None]:
    """Read how the budgets stand where the admission has not: a run that was admitted elsewhere asked for none.

    So that what has come about elsewhere acts on the very first call.
    """
    services, run = scope.services, scope.run
    if not services.store.waits or (run is not None and run.hold_id):
        return
    accounts = scope.accounts(services.now_ms())
    if accounts:
        with suppress(StoreUnavailable):
            scope.record_balances(accounts, (yield Execute((Read(accounts),)))[0])


def _charge_call(opened: OpenRun, one: OpenCall) -> Steps[None]:
    call = one.call
    if call is None:
        return
    command = call.commit_command()
    try:
        yield from settle_steps(call, command)
    except Exception:  # the others, and the run, must end all the same
        log.exception("run %s: %s %s could not be settled", opened.run_id, one.kind, one.name)


def _end_status(
    opened: OpenRun, status: str | None, reason: str, error: BaseException | None
) -> tuple[RunStatus, str]:
    """Return how the run ended, in the ledger's words, and why; a run that was halted stays so."""
    run = opened.run
    if run.status is not None:
        return run.status, run.reason
    name = type(error).__name__ if error is not None else ""
    ended: RunStatus
    if status is None:
        ended = status_of(error)
    elif status in get_args(RunStatus):
        ended = cast("RunStatus", status)
    else:
        ended, name = "failed", status
    if opened.scope.opens_run:
        run.status, run.reason = ended, reason or name
    return ended, reason or name


def _summary(
    opened: OpenRun, ended: tuple[RunStatus, str], unsettled: int, figures: dict[str, Any]
) -> RunSummary:
    status, reason = ended
    said = describe_denial(opened.run.halted_error()) if status == "halted" else {}
    return RunSummary(
        allowed=status != "halted",
        run_id=opened.run_id,
        status=status,
        summary=summary(opened.scope),
        metadata=opened.metadata,
        unsettled=unsettled,
        **(said | {"reason": reason} | figures),
    )


def _scope_keywords(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of `budget_scope`: `tenant_id` and the like are the labels `tenant` ...

    A label that is None or empty is left out: an event bus hands on every field, also one that it has no value for.

    Raises:
        InvalidLabel: a label is given under both names.
        InvalidInput: the run is named twice.
    """
    for name in ("run", "runtime"):
        if name in given:
            msg = (
                f"{name}= is not for the hook: the run is its first argument, the runtime is the guard's own"
            )
            raise InvalidInput(msg)
    options = budget_scope.__kwdefaults__ or {}
    keywords: dict[str, Any] = {}
    for name, value in given.items():
        if (value is None or value == "") and name not in options and not name.startswith("max_"):
            continue
        label = name.removesuffix("_id")
        label = label if label in STANDING_LEVELS else name
        if label in keywords:
            msg = f"label {label} is given twice, as {label}= and as {label}_id=; leave one out"
            raise InvalidLabel(msg)
        keywords[label] = value
    return keywords
