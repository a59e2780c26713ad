"""The end of a run: how it ended, and what gives its slots back."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from costscope.ledger import Commit, new_id
from costscope.ledger.times import ENDED_MS
from costscope.observe.events.records import RunEnded
from costscope.policy import INLINE_BUDGET, RUN_BUDGET, encode
from costscope.stores.effects import Execute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costscope.engine.state.scope_state import ScopeState
    from costscope.engine.state.services import Services
    from costscope.ledger import LostHold
    from costscope.observe.events.records import RunStatus
    from costscope.stores.effects import Steps


ADMISSION: Final = "run-"
"""What the ids of admissions begin with, so that a lost one is known for what it is."""

_PREFIXES: Final = tuple(f"{encode(budget)}/" for budget in (RUN_BUDGET, INLINE_BUDGET))


def _ended_mark(account_key: str, hold_id: str) -> str:
    """Return the mark of the end of a run on the board: the first to put it there says how it ended."""
    return f"{account_key}#ended:{hold_id}"


def _abandoned_runs(lost: Iterable[LostHold]) -> Iterator[tuple[LostHold, dict[str, str]]]:
    """Yield the admissions that were lost, with the labels of their runs, as the key of a run's account has them.

    An admission holds on the run's own account first; its id tells it from a call in the run, whose loss says nothing
    about the run.
    """
    for hold in lost:
        if hold.id.startswith(ADMISSION) and hold.accounts[0].startswith(_PREFIXES):
            place = hold.accounts[0].partition("/")[2].rpartition("/")[0]
            labels = dict(part.split("=", 1) for part in place.split(",") if "=" in part)
            labels = {name: unquote(value) for name, value in labels.items()}
            if "run" in labels:
                yield hold, labels


def emit_abandoned(services: Services, lost: Iterable[LostHold]) -> None:
    """Tell of the runs that have been abandoned, once over all processes."""
    for hold, labels in _abandoned_runs(lost):
        if services.lease_renewer.keeps(hold.id):
            continue  # it is alive, here, and finds out by itself
        now_ms = services.now_ms()
        services.events.emit(
            RunEnded(
                id=new_id(now_ms),
                at=services.now(),
                labels=labels,
                run=labels["run"],
                status="abandoned",
                reason="its process was silent for longer than its lease",
            ),
            once=_ended_mark(hold.accounts[0], hold.id),
            once_ms=ENDED_MS,
        )


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
    except Exception:  # noqa: BLE001 - the run is over, whatever the store says
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


def status_of(error: BaseException | None) -> RunStatus:
    """Return how a run ended that was left like this.

    An error is a failure. A generator is closed by callers that have had enough of it, and `sys.exit()` is an end like
    any other. What is no `Exception` comes from outside: Ctrl-C, a task that is cancelled.
    """
    if isinstance(error, SystemExit):
        return "failed" if error.code else "completed"
    if error is None or isinstance(error, GeneratorExit):
        return "completed"
    return "failed" if isinstance(error, Exception) else "halted"


def _end_run(scope: ScopeState, error: BaseException | None) -> Commit | None:
    """End the run that the scope opened, if it did, and return the command that gives its slots back."""
    run = scope.run
    if run is None or not scope.opens_run or not run.begun or run.inherited:
        return None
    services, hold_id = run.services, run.hold_id
    once = _ended_mark(run.key, hold_id) if hold_id else ""
    command: Commit | None = None
    if hold_id:
        services.lease_renewer.drop(hold_id)
        command = Commit(hold_id, run.accounts, {"runs": 1}, services.store.keep_ms)
        run.hold_id = ""
    if run.status is None:
        run.status = status_of(error)
        run.reason = "" if error is None else type(error).__name__
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
