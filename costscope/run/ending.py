"""The end of a run: how it ended, and what gives its slots back."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from costscope.events.records import RunEnded
from costscope.ledger import Commit
from costscope.run.lost import ENDED_MS, ended_mark
from costscope.stores.steps import Execute

if TYPE_CHECKING:
    from costscope.events.records import RunStatus
    from costscope.run.run import Run
    from costscope.runtime.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.stores.steps import Steps

__all__ = ["end", "ending", "status_of"]


def ending(run: Run, scope: Scope, error: BaseException | None) -> Commit | None:
    """How the run ended, told to whoever listens; the command that gives its slots back."""
    if not run.begun or run.inherited:
        return None
    runtime, hold_id = run.runtime, run.hold_id
    command: Commit | None = None
    if hold_id:
        runtime.heart.drop(run.hold_id)
        amounts = {"runs": 1}
        command = Commit(run.hold_id, run.accounts, amounts, runtime.store.keep_ms)
        run.hold_id = ""
    if run.status is None:
        run.status = status_of(error)
        run.reason = "" if error is None else type(error).__name__
    if not run.joined:
        event = RunEnded(
            **scope.stamp(),
            run=run.name,
            status=run.status,
            reason=run.reason,
            cost=run.cost,
            seconds=monotonic() - run.opened_s,
            iterations=run.iterations,
        )
        once = ended_mark(run.key, hold_id) if hold_id else ""
        runtime.events.emit(event, scope.callbacks, once=once, once_ms=ENDED_MS)
    return command


def status_of(error: BaseException | None) -> RunStatus:
    """How a run ended that was left like this.

    An error is a failure. Whoever closes a generator has had enough of it, and `sys.exit()` is an end like any other.
    What is no `Exception` comes from outside: Ctrl-C, a task that is cancelled.
    """
    if isinstance(error, SystemExit):
        return "failed" if error.code else "completed"
    if error is None or isinstance(error, GeneratorExit):
        return "completed"
    return "failed" if isinstance(error, Exception) else "halted"


def end(runtime: Runtime, command: Commit) -> Steps[None]:
    """Give back the slots of a run that has ended; what cannot be sent now waits in the outbox."""
    try:
        yield Execute((command,))
    except Exception:  # noqa: BLE001 - the run is over, whatever the store says
        runtime.outbox.put(command)
    except BaseException:
        if runtime.store.waits:  # else it has been applied already
            runtime.outbox.put(command)
        raise
    if runtime.waiting:
        runtime.waiting.nudge(command.accounts)
