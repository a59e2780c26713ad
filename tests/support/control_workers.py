"""What other processes do under a policy: here, where a spawned interpreter finds it wherever the suite was started."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from costscope import BudgetExceeded, RunHalted, Runtime, Wait, budget_scope, metered_model, metered_tool
from costscope.scope.runtime import services_of

if TYPE_CHECKING:
    from multiprocessing import Queue
    from multiprocessing.synchronize import Barrier

__all__ = ["cross", "degraded", "model_used", "pace", "wait_in_line", "work_in_run"]


def cross(
    url: str, policy: dict[str, Any], barrier: Barrier | None, results: Queue[Any], threads: int, calls: int
) -> None:
    """Make calls of 0.01 in several threads; which thresholds this process was told of, by record."""
    told: list[tuple[str, str, float]] = []
    with Runtime(store=url, policy=policy) as runtime:
        runtime.events.on("threshold", lambda e: told.append((e.budget, e.meter, e.threshold)))
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)

        def work() -> None:
            with budget_scope(runtime=runtime, tenant="acme"):
                for _ in range(calls):
                    try:
                        tool()
                    except BudgetExceeded:
                        return

        workers = [threading.Thread(target=work) for _ in range(threads)]
        if barrier is not None:
            barrier.wait(60)
        for one in workers:
            one.start()
        for one in workers:
            one.join()
    results.put(told)


def model_used(url: str, policy: dict[str, Any], results: Queue[Any]) -> None:
    """Make the only call of a process: to which model it went, and with which cap."""
    with Runtime(store=url, policy=policy) as runtime:

        @metered_model(price="0.01", estimate="0.01", runtime=runtime)
        def ask(model: str, max_tokens: int = 100) -> tuple[str, int]:
            return model, max_tokens

        with budget_scope(runtime=runtime, tenant="acme"):
            results.put(ask(model="dear"))


def degraded(url: str, policy: dict[str, Any], results: Queue[Any]) -> None:
    """Make two calls; how many of them were marked as degraded."""
    marked: list[bool] = []
    with Runtime(store=url, policy=policy) as runtime:
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
        with budget_scope(runtime=runtime, tenant="acme", on_settled=lambda e: marked.append(e.degraded)):
            tool()
            tool()
    results.put(sum(marked))


def work_in_run(url: str, policy: dict[str, Any], results: Queue[Any], name: str) -> None:
    """Join a run that was admitted elsewhere, and make one call in it."""
    with Runtime(store=url, policy=policy) as runtime:
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: "made")
        try:
            with budget_scope(runtime=runtime, tenant="acme", run=name, join_run=True):
                results.put(tool())
        except RunHalted as halted:
            results.put(halted.reason)


def pace(
    url: str, policy: dict[str, Any], barrier: Barrier, results: Queue[Any], seconds: float, threads: int
) -> None:
    """Call as fast as is allowed for a while: how many calls were made."""
    made: list[float] = []
    with Runtime(store=url, policy=policy) as runtime:
        tool = metered_tool("t", price=0, runtime=runtime)(lambda: None)
        barrier.wait(60)
        until = time.monotonic() + seconds

        def work() -> None:
            with budget_scope(runtime=runtime, tenant="acme"):
                while time.monotonic() < until:
                    tool()
                    made.append(time.time())

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
    results.put(made)


def wait_in_line(url: str, policy: dict[str, Any], orders: Queue[str], results: Queue[Any]) -> None:
    """Begin to wait when told to, in a thread for each order; say in which order they were served."""
    served: list[tuple[float, str]] = []
    with Runtime(store=url, policy=policy) as runtime:

        def wait(name: str) -> None:
            @metered_tool("t", price="0.01", estimate="0.01", on_denied=Wait("50s"), runtime=runtime)
            def tool() -> None:
                served.append((time.time(), name))
                time.sleep(0.02)

            with budget_scope(runtime=runtime, tenant="acme"):
                tool()

        threads = []
        results.put("ready")
        while name := orders.get(timeout=60):
            before = len(services_of(runtime).wait_list)
            threads.append(threading.Thread(target=wait, args=(name,)))
            threads[-1].start()
            while len(services_of(runtime).wait_list) == before:
                time.sleep(0.002)
            results.put("waiting")
        for one in threads:
            one.join()
    results.put(served)
