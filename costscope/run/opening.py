"""A scope with a `run` label becomes a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.policy import run_account
from costscope.run.run import Run

if TYPE_CHECKING:
    from costscope.runtime.runtime import Runtime

__all__ = ["run_of"]


def run_of(runtime: Runtime, labels: dict[str, str], clock_ms: int | None, *, joined: bool) -> Run:
    """The run that a scope with these labels opens, not yet admitted.

    It has an account of its own where the policy has anything to say about single runs: constraints, something that
    halts runs, a watch for runaways, or runs that are counted.

    Args:
        runtime: the one of the scope.
        labels: all that are in effect.
        clock_ms: how long it may last at most, besides what the policy says.
        joined: it was admitted elsewhere.
    """
    covered = runtime.coverage.accounts(labels, runtime.now_ms())
    clocks = [ms for ms in (clock_ms, covered.run_clock_ms) if ms is not None]
    watched = covered.halts or bool(covered.admission) or runtime.runaway_for(labels) is not None
    account = (
        run_account(labels, dict(covered.run_limits)) if covered.run_limits or clocks or watched else None
    )
    return Run(runtime, labels, account, min(clocks, default=None), joined=joined)
