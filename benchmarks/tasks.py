"""Reserve + commit pairs by hundreds of asyncio tasks on one Valkey, as multiples of a PING rate.

The floor is `valkey.asyncio` with a pool of 64 connections: more of them slow it down, and a connection for each
of 1,024 tasks is more than many systems allow a process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import valkey.asyncio

from benchmarks.harness import Figure, Rounds, Target, arounds
from benchmarks.workload import accounts, apair, embedded_server, nested_budgets
from costscope import Runtime, metered_tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.harness import AsyncBlock, Effort


_TARGETS: Final = {256: Target("at least", 3), 1024: Target("at least", 5)}
_CONNECTIONS: Final = 64
_LONE: Final = 300


def measure(effort: Effort) -> list[Figure]:
    """Pairs through the store (the target), and decorated calls; over three budgets of two meters each."""
    with embedded_server() as (url, socket):
        return [figure for tasks in _TARGETS for figure in asyncio.run(_measure(url, socket, tasks, effort))]


async def _measure(url: str, socket: str, tasks: int, effort: Effort) -> list[Figure]:
    pool = valkey.asyncio.BlockingConnectionPool(
        connection_class=valkey.asyncio.UnixDomainSocketConnection,
        path=socket,
        max_connections=_CONNECTIONS,
        timeout=30,
    )
    pings = valkey.asyncio.Valkey.from_pool(pool)
    async with Runtime(store=url) as runtime, pings:
        with nested_budgets(runtime):

            @metered_tool("bench", price="0.01", runtime=runtime)
            async def call() -> None:
                return

            async def alone(_: int) -> None:
                for _ in range(_LONE):
                    await pings.ping()

            blocks: dict[str, AsyncBlock] = {
                "alone": alone,
                "pings": _by_tasks(pings.ping, tasks),
                "pairs": _by_tasks(apair(runtime.store, accounts(3, 2)), tasks),
                "calls": _by_tasks(call, tasks),
            }
            size = max(effort.times(16, 8) * tasks // 2, 4096)
            found = await arounds(blocks, count=effort.times(25, 5), size=size)
    # one caller would take too long for a whole block: he does a few hundred
    found = Rounds({**found.times, "alone": [us * size / _LONE for us in found.times["alone"]]})
    same, lone = f"PING, {tasks:,} tasks", "PING, one caller"
    return [
        Figure.of_rate(f"pairs, {tasks:,} tasks", found.pairs("pings", "pairs"), same, _TARGETS[tasks]),
        Figure.of_rate(f"pairs, {tasks:,} tasks", found.pairs("alone", "pairs"), lone),
        Figure.of_rate(f"decorated calls, {tasks:,} tasks", found.pairs("pings", "calls"), same),
    ]


def _by_tasks(operation: Callable[[], Awaitable[object]], tasks: int) -> AsyncBlock:
    async def share(times: int) -> None:
        for _ in range(times):
            await operation()

    async def block(times: int) -> None:
        await asyncio.gather(*[share(times // tasks) for _ in range(tasks)])

    return block
