"""A scope with a `run` label becomes a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.policy import run_account
from costscope.policy.accounts import observed_account
from costscope.run.run import Run

if TYPE_CHECKING:
    from costscope.ledger import Account
    from costscope.runtime.runtime import Runtime

__all__ = ["run_of"]


def run_of(
    runtime: Runtime, labels: dict[str, str], clock_ms: int | None, inline: Account | None, *, joined: bool
) -> Run:
    """The run that a scope with these labels opens, not yet admitted.

    It has an account of its own where any budget covers it or it has a clock; with nothing but limits set on the
    scope itself their account serves. Orders to stop stand in that account, and the admission holds on it, so that
    others find out when its process has died. A run that nothing limits has none: no books are kept of it.

    Args:
        runtime: the one of the scope.
        labels: all that are in effect.
        clock_ms: how long it may last at most, besides what the policy says.
        inline: the account of the limits set on the scope, if there are any.
        joined: it was admitted elsewhere.
    """
    covered = runtime.coverage.accounts(labels, runtime.now_ms())
    clocks = [ms for ms in (clock_ms, covered.run_clock_ms) if ms is not None]
    told = covered.observed or covered.accounts or covered.admission or covered.run_limits or clocks
    runaway = runtime.runaway_for(labels)
    turns = covered.curbs or (
        runaway is not None and any(action.iterations is not None for action in runaway.actions)
    )
    account = inline
    if told or runaway is not None:
        account = run_account(labels, dict(covered.run_limits), turns=turns)
    opened = Run(runtime, labels, account, min(clocks, default=None), joined=joined)
    opened.observed = tuple((observed_account(budget, labels), budget) for budget in covered.observed)
    return opened
