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

    from costscope.engine.state.run import Run
    from costscope.ledger import LostHold
    from costscope.observe.events.records import RunStatus
    from costscope.scope.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.stores.effects import Steps


ADMISSION: Final = "run-"
"""What the ids of admissions begin with, so that a lost one is known for what it is."""

_PREFIXES: Final = tuple(f"{encode(budget)}/" for budget in (RUN_BUDGET, INLINE_BUDGET))


def ended_mark(account_key: str, hold_id: str) -> str:
    """What tells the end of a run on the board: whoever comes first says how it ended."""
    return f"{account_key}#ended:{hold_id}"


def abandoned(lost: Iterable[LostHold]) -> Iterator[tuple[LostHold, dict[str, str]]]:
    """The admissions that were lost, with the labels of their runs, as the key of a run's account has them.

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


def tell_abandoned(runtime: Runtime, lost: Iterable[LostHold]) -> None:
    """Tell of the runs that have been abandoned, once over all processes."""
    for hold, labels in abandoned(lost):
        if runtime.heart.keeps(hold.id):
            continue  # it is alive, here, and finds out by itself
        runtime.events.emit(
            RunEnded(
                id=new_id(runtime.now_ms()),
                at=runtime.now(),
                labels=labels,
                run=labels["run"],
                status="abandoned",
                reason="its process was silent for longer than its lease",
            ),
            once=ended_mark(hold.accounts[0], hold.id),
            once_ms=ENDED_MS,
        )


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
