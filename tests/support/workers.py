"""What other processes run: here, where a spawned interpreter finds it wherever the suite was started."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import costscope
from costscope import BudgetExceeded, Runtime, budget_scope, metered_tool
from costscope.stores import open_store

if TYPE_CHECKING:
    from multiprocessing import Queue
    from multiprocessing.synchronize import Barrier

__all__ = ["abandon", "identify", "spend"]


def spend(url: str, labels: dict[str, str], tries: int) -> int:
    """How many of these calls are admitted under the shared limit of 0.10."""
    admitted = 0
    with Runtime(store=url) as runtime:
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
        with budget_scope(runtime=runtime, max_cost="0.10", **labels):
            for _ in range(tries):
                try:
                    tool()
                    admitted += 1
                except BudgetExceeded:
                    break
    return admitted


def abandon(url: str) -> None:
    """Enter a reservation and never leave it: its settlement waits in the outbox when the process ends."""
    runtime = Runtime(store=open_store(url), policy={"budgets": [{"id": "all", "limits": {"cost": "1"}}]})
    with budget_scope(runtime=runtime):
        costscope.reserve(tool="t", price="0.01", runtime=runtime).__enter__()
    gc.collect()


def identify(url: str, barrier: Barrier, results: Queue[str]) -> None:
    """Make 20 calls with the same keys as another process that starts at the same moment."""
    with Runtime(store=url, policy={"budgets": [{"id": "all", "limits": {"cost": "1"}}]}) as runtime:
        tool = metered_tool("t", price="0.01", idempotency_key="job", runtime=runtime)(lambda job: job)
        barrier.wait(30)
        with budget_scope(runtime=runtime, run="r"):
            for number in range(20):
                tool(f"job-{number}")
    results.put("done")
