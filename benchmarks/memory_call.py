"""A decorated call on `memory://`, against the bare function."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.harness import Figure, Target, arounds, repeat_operation, rounds
from benchmarks.workload import ANSWER, MESSAGES, MODEL_PRICE, nested_budgets
from costscope import Runtime, metered_model, metered_tool

if TYPE_CHECKING:
    from benchmarks.harness import AsyncBlock, Effort


def measure(effort: Effort) -> list[Figure]:
    """A tool (the target), the same as a coroutine, and a model whose usage is read and priced."""
    count, size = effort.times(200, 30), 500
    with Runtime(store="memory://") as runtime, nested_budgets(runtime):
        return [
            _tool(runtime, count, size),
            asyncio.run(_async_tool(runtime, count, size)),
            _model(runtime, count, size),
        ]


def _tool(runtime: Runtime, count: int, size: int) -> Figure:
    def bare() -> None:
        return

    metered = metered_tool("bench", price="0.01", runtime=runtime)(bare)
    found = rounds(
        {"bare": repeat_operation(bare), "ours": repeat_operation(metered)}, count=count, size=size
    )
    name = "tool call, three nested budgets of two meters each"
    return Figure.of_extra(name, found.pairs("bare", "ours"), "the bare function", Target("at most", 6))


async def _async_tool(runtime: Runtime, count: int, size: int) -> Figure:
    async def bare() -> None:
        return

    metered = metered_tool("bench", price="0.01", runtime=runtime)(bare)

    async def floor(times: int) -> None:
        for _ in range(times):
            await bare()

    async def ours(times: int) -> None:
        for _ in range(times):
            await metered()

    blocks: dict[str, AsyncBlock] = {"bare": floor, "ours": ours}
    found = await arounds(blocks, count=count, size=size)
    return Figure.of_extra("the same as a coroutine", found.pairs("bare", "ours"), "the bare coroutine")


def _model(runtime: Runtime, count: int, size: int) -> Figure:
    def bare(messages: object, *, max_tokens: int) -> object:
        assert messages
        assert max_tokens
        return ANSWER

    metered = metered_model("bench-model", price=MODEL_PRICE, runtime=runtime)(bare)
    found = rounds(
        {
            "bare": repeat_operation(lambda: bare(MESSAGES, max_tokens=300)),
            "ours": repeat_operation(lambda: metered(MESSAGES, max_tokens=300)),
        },
        count=count,
        size=size // 5,
    )
    name = "model call: estimated by its text, usage read and priced"
    return Figure.of_extra(name, found.pairs("bare", "ours"), "the bare function")
