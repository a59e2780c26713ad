"""Orders to stop: given to a run by a budget, a runaway or a person, and found by every process that works in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from costscope.errors import DENIALS, StoreUnavailable
from costscope.ledger import HALTS, Commit, Read, new_id
from costscope.stores.effects import Execute

if TYPE_CHECKING:
    from costscope.engine.control.effects import Effects
    from costscope.engine.state.level_watch import Watch
    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.errors import BudgetExceeded, RunHalted
    from costscope.stores.effects import Steps

STOPPED_ELSEWHERE: Final = "another process, or an earlier one, ordered it to stop"

log = logging.getLogger("costscope")


def halt_run(run: Run, reason: str) -> Steps[None]:
    """Halt a run in every process that works in it."""
    if not run.halt(reason):
        return
    if run.account is None:
        log.warning(
            "run %s is halted in this process only: no budget covers it, so it has no books", run.name
        )
        return
    services = run.services
    command = Commit(new_id(services.now_ms()), (run.account,), {HALTS: 1}, services.store.keep_ms)
    try:
        yield Execute((command,))
    except StoreUnavailable:
        services.outbox.put(command)
    except BaseException:
        if services.store.waits:  # else it has been applied already
            services.outbox.put(command)
        raise


def halted_by_order(run: Run | None, meter: str) -> RunHalted | None:
    """Return the order to stop that a refusal for want of this meter may be; None where it is something else."""
    if run is None or meter != HALTS:
        return None
    run.halt(STOPPED_ELSEWHERE)
    return run.halted_error()


def halt_at_limit(scope: ScopeState, refusal: BudgetExceeded) -> Steps[None]:
    """Halt the run that has met a limit, where its budget says so; what merely has to wait has not met one."""
    if scope.run is None or not DENIALS[refusal.kind].limit_met:
        return
    budget = scope.services.rules.budget(refusal.budget)
    if budget is not None and budget.on_limit == "halt_run":
        reason = f"budget {budget.id} has no more {refusal.meter}, and halts the run then"
        yield from halt_run(scope.run, reason)


def halt_by_levels(scope: ScopeState, effects: Effects) -> Steps[None]:
    """Halt the run where a threshold that is passed does; `effects` are by the store's word, see `read_effects`.

    Raises:
        RunHalted: it does.
    """
    run, by = scope.run, effects.halt_run
    if run is None or by is None:
        return
    percent = f"{by.level.threshold.at:g} %" if by.level.threshold is not None else "its limit"
    yield from halt_run(run, f"budget {by.budget.id} is at {percent}, where it halts runs")
    run.check()


def read_effects(scope: ScopeState, watch: Watch) -> Steps[Effects]:
    """Return what is in force by the store's word: what this process has seen may be long past."""
    accounts = scope.accounts(scope.services.now_ms())
    (found,) = yield Execute((Read(accounts),))
    scope.record_balances(accounts, found)
    return watch.effects()
