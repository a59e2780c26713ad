"""A metered call on Valkey by one caller, against two bare EVALSHA round trips on the same server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import valkey
import valkey.asyncio

from benchmarks.harness import Figure, Target, arounds, repeat_operation, rounds
from benchmarks.workload import embedded_server, nested_budgets, two_scripts
from costscope import Runtime, metered_tool

if TYPE_CHECKING:
    from benchmarks.harness import AsyncBlock, Effort


_SIZE: Final = 20
_LEVELS: Final = {1: "one budget of two meters", 3: "three nested budgets of two meters each"}


def measure(effort: Effort) -> list[Figure]:
    """A decorated tool call by a thread (the target), and by a lone task."""
    count = effort.times(300, 40)
    with embedded_server() as (url, socket):
        return [
            *[_by_thread(url, socket, levels, count) for levels in _LEVELS],
            *[asyncio.run(_by_task(url, socket, levels, count)) for levels in _LEVELS],
        ]


def _by_thread(url: str, socket: str, levels: int, count: int) -> Figure:
    with (
        Runtime(store=url) as runtime,
        valkey.Valkey(unix_socket_path=socket) as client,
        nested_budgets(runtime, levels),
    ):
        sha = client.script_load("return 1")

        def two_scripts() -> None:
            client.evalsha(sha, 0)
            client.evalsha(sha, 0)

        @metered_tool("bench", price="0.01", runtime=runtime)
        def ours() -> None:
            return

        found = rounds(
            {"floor": repeat_operation(two_scripts), "ours": repeat_operation(ours)}, count=count, size=_SIZE
        )
    name, floor = f"tool call, {_LEVELS[levels]}", "two EVALSHA of valkey.Valkey"
    return Figure.of_ratio(name, found.pairs("floor", "ours"), floor, Target("at most", 1.75))


async def _by_task(url: str, socket: str, levels: int, count: int) -> Figure:
    client = valkey.asyncio.Valkey(unix_socket_path=socket)
    async with Runtime(store=url) as runtime, client:
        with nested_budgets(runtime, levels):
            bare = await two_scripts(client)

            @metered_tool("bench", price="0.01", runtime=runtime)
            async def call() -> None:
                return

            async def floor(times: int) -> None:
                for _ in range(times):
                    await bare()

            async def ours(times: int) -> None:
                for _ in range(times):
                    await call()

            blocks: dict[str, AsyncBlock] = {"floor": floor, "ours": ours}
            found = await arounds(blocks, count=count, size=_SIZE)
    name = f"the same by a lone task, {_LEVELS[levels]}"
    return Figure.of_ratio(name, found.pairs("floor", "ours"), "two EVALSHA of valkey.asyncio.Valkey")
