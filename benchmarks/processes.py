"""Four processes that share one account: how fast together, and whether a cent too much is spent."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import ExitStack
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final, Self

import valkey.asyncio

from benchmarks.harness import Figure, Pairs, Target, rotate_names
from benchmarks.workload import embedded_server, two_scripts
from costscope import BudgetExceeded, Runtime, budget_scope, metered_tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from multiprocessing.connection import Connection

    from benchmarks.harness import Effort


_PROCESSES: Final = 4
_TASKS: Final = 16
_PRICE_CENTS: Final = 1


def measure(effort: Effort) -> list[Figure]:
    """The sum rate, with all processes at work at once; then a limit they run into together."""
    limit_cents = effort.times(10_000, 2_000) * _PRICE_CENTS
    per_task = effort.times(50, 20)
    with embedded_server() as (url, socket), ExitStack() as stack:
        workers = [stack.enter_context(_Worker(url, socket, limit_cents)) for _ in range(_PROCESSES)]
        for job in ("floor", "ours"):
            _all_do(workers, job, per_task)
        times: dict[str, list[float]] = {"floor": [], "ours": []}
        for number in range(effort.times(25, 5)):
            for job in rotate_names(list(times), number):
                begun = perf_counter_ns()
                done = sum(_all_do(workers, job, per_task))
                times[job].append((perf_counter_ns() - begun) / done / 1000)
        billed_cents = sum(_all_do(workers, "until refused", 0)) * _PRICE_CENTS
    rate = Pairs(times["floor"], times["ours"])
    who = f"{_PROCESSES} processes x {_TASKS} tasks"
    return [
        Figure.of_rate(
            f"{who}, one shared account: calls", rate, "two EVALSHA of valkey.asyncio.Valkey, all alike"
        ),
        _cents(
            "over budget: the provider's bill above the limit",
            max(0, billed_cents - limit_cents),
            Target("at most", 0),
        ),
        _cents("left unspent when all were refused", max(0, limit_cents - billed_cents), None),
    ]


def _cents(name: str, cents: int, target: Target | None) -> Figure:
    return Figure(name, cents / 100, "USD", target=target)


def _all_do(workers: list[_Worker], job: str, per_task: int) -> list[int]:
    for worker in workers:
        worker.pipe.send((job, per_task))
    return [worker.pipe.recv() for worker in workers]


class _Worker:
    """One process; it is sent `(job, operations a task)` and answers with the number of operations done."""

    def __init__(self, url: str, socket: str, limit_cents: int) -> None:
        spawning = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_work, args=(theirs, url, socket, limit_cents), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send(("end", 0))
        self._process.join()


def _work(pipe: Connection, url: str, socket: str, limit_cents: int) -> None:
    asyncio.run(_serve(pipe, url, socket, limit_cents))


async def _serve(pipe: Connection, url: str, socket: str, limit_cents: int) -> None:
    async with Runtime(store=url) as runtime, valkey.asyncio.Valkey(unix_socket_path=socket) as client:
        floor = await two_scripts(client)
        billed = 0  # the provider's own count: it knows nothing of budgets

        @metered_tool("bench", price=f"0.{_PRICE_CENTS:02}", runtime=runtime)
        async def call() -> None:
            nonlocal billed
            await asyncio.sleep(0)  # the others get their turn between a reserve and its commit
            billed += 1

        while True:
            job, per_task = pipe.recv()
            if job == "end":
                return
            if job == "floor":
                pipe.send(await _fan_out(floor, per_task))
            elif job == "ours":
                with budget_scope(runtime=runtime, run="rate", max_cost="9000000"):
                    pipe.send(await _fan_out(call, per_task))
            else:
                billed = 0
                with budget_scope(
                    runtime=runtime, run="limit", max_cost=f"{limit_cents // 100}.{limit_cents % 100:02}"
                ):
                    await asyncio.gather(*[_until_refused(call) for _ in range(_TASKS)])
                pipe.send(billed)


async def _fan_out(operation: Callable[[], Awaitable[None]], per_task: int) -> int:
    async def share() -> None:
        for _ in range(per_task):
            await operation()

    await asyncio.gather(*[share() for _ in range(_TASKS)])
    return _TASKS * per_task


async def _until_refused(call: Callable[[], Awaitable[None]]) -> None:
    """Call until the budget is spent; a refusal because of calls in flight is no reason to stop."""
    while True:
        try:
            await call()
        except BudgetExceeded as refusal:
            if refusal.kind != "in_flight":
                return
            await asyncio.sleep(0)
