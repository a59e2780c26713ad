"""What policies that act add to a metered call on `memory://`: thresholds, a route and runaway detection."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.harness import Figure, Target, arounds, rounds
from benchmarks.workload import ANSWER, MESSAGES, MODEL_PRICE
from costscope import Runtime, budget_scope, metered_model, metered_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Context

    from benchmarks.harness import AsyncBlock, Block, Effort, Rounds


_LIMITS: Final = {"cost": 9_000_000, "tool_calls": 10**12}
_BUDGETS: Final[list[dict[str, Any]]] = [
    {"id": "tenant-month", "per": ["tenant"], "period": "monthly", "limits": _LIMITS},
    {"id": "workflow-day", "per": ["workflow"], "period": "daily", "limits": _LIMITS},
    {"id": "agent", "per": ["agent"], "limits": _LIMITS},
]
_THRESHOLDS: Final = [50, {"at": 80, "actions": ["downgrade_model"]}, {"at": 95, "actions": ["halt_run"]}]
_ROUTE: Final = {
    "id": "bench",
    "models": ["bench-*"],
    "stages": [
        {
            "model": "bench-model",
            "fallbacks": ["bench-mini"],
            "downgrade_on": {"soft_threshold_exceeded": True, "utilization_above": 90},
        }
    ],
}
_PRICES: Final = {"models": {"bench-model": MODEL_PRICE, "bench-mini": {"input": "0.05", "output": "0.20"}}}
_PLAIN: Final = {"prices": _PRICES, "budgets": _BUDGETS}
_ACTING: Final = {
    "prices": _PRICES,
    "budgets": [budget | {"thresholds": _THRESHOLDS} for budget in _BUDGETS],
    "routing": [_ROUTE],
    "runaway": {},
}
_LABELS: Final = {"tenant": "acme", "workflow": "report", "agent": "researcher"}
_SETTINGS: Final[dict[str, tuple[dict[str, Any], dict[str, str]]]] = {
    "plain": (_PLAIN, _LABELS),
    "in a run": (_PLAIN, _LABELS | {"run": "r-1"}),
    "acting": (_ACTING, _LABELS | {"run": "r-1"}),
}
"""Policy and labels: three budgets of two meters each. What is watched for runaways is a run, hence the third label."""

_TARGET: Final = Target("at most", 3)


def measure(effort: Effort) -> list[Figure]:
    """A tool and a model, as functions and as coroutines; no threshold is passed, and no two calls are alike."""
    count, figures = effort.times(300, 30), []
    for kind, make, size in (("tool call", _tool, 250), ("model call", _model, 100)):
        with _settings() as settings:
            blocks = {name: partial(context.run, make(own)) for name, (own, context) in settings.items()}
            figures += _figures(kind, rounds(blocks, count=count, size=size))
    for kind, amake, size in (("tool call", _atool, 250), ("model call", _amodel, 100)):
        with _settings() as settings:
            ablocks = {name: _as_task(amake(own), context) for name, (own, context) in settings.items()}
            figures += _figures(f"{kind}, a coroutine", asyncio.run(arounds(ablocks, count=count, size=size)))
    return figures


@contextmanager
def _settings() -> Iterator[dict[str, tuple[Runtime, Context]]]:
    """Of each setting a runtime, and a context in which its scope is open.

    Raises:
        RuntimeError: something came about in its calls, so that not what was meant to be has been measured.
    """
    told: list[object] = []
    with ExitStack() as stack:
        settings = {}
        for name, (policy, labels) in _SETTINGS.items():
            runtime = stack.enter_context(Runtime(policy=policy))
            for kind in ("threshold", "downgrade", "runaway", "denied"):
                runtime.events.on(kind, told.append)
            context, scope = copy_context(), budget_scope(runtime=runtime, **labels)
            context.run(scope.__enter__)
            stack.push(partial(context.run, scope.__exit__))
            settings[name] = runtime, context
        yield settings
        for runtime, _ in settings.values():
            runtime.events.drain(10)
    if told:
        msg = f"calls in which nothing was to come about: {told[0]}"
        raise RuntimeError(msg)


def _figures(kind: str, found: Rounds) -> list[Figure]:
    return [
        Figure.of_extra(
            f"{kind}: thresholds, a route and runaway detection on",
            found.pairs("in a run", "acting"),
            "the same call in the same run, over budgets that only refuse",
            _TARGET,
        ),
        Figure.of_extra(
            f"{kind}: all that, and the run",
            found.pairs("plain", "acting"),
            "the same call outside of runs, over budgets that only refuse",
        ),
    ]


def _tool(runtime: Runtime) -> Block:
    @metered_tool("bench", price="0.01", runtime=runtime)
    def search(_: int) -> None:
        return

    def block(times: int) -> None:
        for number in range(times):
            search(number)

    return block


def _model(runtime: Runtime) -> Block:
    @metered_model(runtime=runtime)
    def ask(_: object, *, model: str, max_tokens: int, seed: int) -> object:
        assert model
        assert max_tokens
        assert seed >= 0
        return ANSWER

    def block(times: int) -> None:
        for number in range(times):
            ask(MESSAGES, model="bench-model", max_tokens=300, seed=number)

    return block


def _atool(runtime: Runtime) -> AsyncBlock:
    @metered_tool("bench", price="0.01", runtime=runtime)
    async def search(_: int) -> None:
        return

    async def block(times: int) -> None:
        for number in range(times):
            await search(number)

    return block


def _amodel(runtime: Runtime) -> AsyncBlock:
    @metered_model(runtime=runtime)
    async def ask(_: object, *, model: str, max_tokens: int, seed: int) -> object:
        assert model
        assert max_tokens
        assert seed >= 0
        return ANSWER

    async def block(times: int) -> None:
        for number in range(times):
            await ask(MESSAGES, model="bench-model", max_tokens=300, seed=number)

    return block


def _as_task(block: AsyncBlock, context: Context) -> AsyncBlock:
    async def perform(times: int) -> None:
        await block(times)

    async def in_context(times: int) -> None:
        await asyncio.get_running_loop().create_task(perform(times), context=context)

    return in_context
