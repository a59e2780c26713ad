"""Wall clocks: accounts and runs that stop some time after they were first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.enforcement.refusals import refusal, reset_of
from costscope.engine.state.level_watch import Late
from costscope.ledger.times import ONCE_KEEP_MS
from costscope.policy import refuses
from costscope.policy.model.controls import WALL_CLOCK
from costscope.policy.resolve.accounts import account_info_of
from costscope.stores.coordination.operations import SetOnce
from costscope.stores.effects import Ask

if TYPE_CHECKING:
    from costscope.engine.state.account_views import View
    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.errors import BudgetExceeded
    from costscope.ledger import Account
    from costscope.policy import Budget
    from costscope.stores.effects import Steps


def check_clocks(scope: ScopeState) -> Steps[tuple[Late, ...]]:
    """Refuse what comes too late. The first use is agreed on over all processes, and asked for once.

    Returns:
        The budgets that would have refused it, and do not.

    Raises:
        BudgetExceeded: an account's time is over.
        RunHalted: the run's is.
    """
    services, run = scope.services, scope.run
    now_ms = services.now_ms()
    clocks = scope.clocks(now_ms)
    unknown = [(account, view) for account, view, _ in clocks if not view.opened_ms]
    ops = [SetOnce(opened_mark(account.key), "", _keep_ms(account, now_ms)) for account, _ in unknown]
    if run is not None and run.clock_ms is not None and not run.opened_ms:
        ops.append(SetOnce(opened_mark(run.key), str(run.admitted_ms or now_ms), ONCE_KEEP_MS))
    if ops:
        answers = yield Ask(tuple(ops))
        for (_, view), answer in zip(unknown, answers, strict=False):
            view.opened_ms = int(answer)
        if len(answers) > len(unknown):
            assert run is not None, "the last one is the run's"
            run.opened_ms = int(answers[-1])
        now_ms = services.now_ms()
    if run is not None and run.clock_ms is not None:
        run.ends_at(run.opened_ms + run.clock_ms, late(run))
        if now_ms >= run.opened_ms + run.clock_ms:
            run.halt(late(run))
            raise run.halted_error()
    over = [_report_overdue(account, view, budget, now_ms, run) for account, view, budget in clocks]
    return tuple(late for late in over if late is not None)


def _report_overdue(
    account: Account, view: View, budget: Budget, now_ms: int, run: Run | None
) -> Late | None:
    """Return whether the time of an account is over, where that is only told.

    Raises:
        BudgetExceeded: it is, and calls are refused.
    """
    elapsed_ms, limit_ms = now_ms - view.opened_ms, budget.wall_clock_ms
    assert limit_ms is not None, "only budgets with a clock are asked"
    if not refuses(budget, in_run=run is not None):
        return Late(budget, elapsed_ms) if elapsed_ms >= limit_ms else None
    if elapsed_ms >= limit_ms:
        raise _over(account, limit_ms, elapsed_ms)
    ends_ms = view.opened_ms + limit_ms
    if run is not None and (not account.end_ms or ends_ms < account.end_ms):
        run.ends_at(ends_ms, _why(account, limit_ms))
    return None


def late(run: Run) -> str:
    """Say why a run is halted by its clock."""
    assert run.clock_ms is not None, "only a run with a clock is late"
    return f"it may last {run.clock_ms / 1000:g} s (max_wall_clock), and these are over"


def opened_mark(account_key: str) -> str:
    """Return where on the board stands when an account, or a run, was first used."""
    return f"{account_key}#opened"


def _why(account: Account, limit_ms: int) -> str:
    """Say why a run is halted by the clock of an account."""
    budget = account_info_of(account.about).budget
    return f"budget {budget} allows {limit_ms / 1000:g} s (wall_clock), and these are over"


def _over(account: Account, limit_ms: int, elapsed_ms: int) -> BudgetExceeded:
    message = (
        f"budget {account_info_of(account.about).budget!r} allows {limit_ms / 1000:g} s from its first call (wall_clock), and "
        f"{elapsed_ms / 1000:g} s have passed.{reset_of(account) or ' It does not reset.'} Raise the limit, or start a "
        "scope that another account pays for."
    )
    return refusal(
        account, message, kind="exhausted", meter=WALL_CLOCK, limit=limit_ms, spent=elapsed_ms, held=0
    )


def _keep_ms(account: Account, now_ms: int) -> int:
    if not account.end_ms:
        return account.keep_ms or ONCE_KEEP_MS
    return max(account.end_ms - now_ms, 0) + account.keep_ms
