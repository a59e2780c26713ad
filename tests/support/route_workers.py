"""What other processes run in tests of routes and runaways."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from costscope import CallDenied, Runtime, budget_scope, metered_model, metered_tool

if TYPE_CHECKING:
    from multiprocessing import Queue
    from multiprocessing.synchronize import Barrier

__all__ = ["fail_together", "repeat_together", "where_to"]


def where_to(url: str, policy: dict[str, Any], results: Queue[list[str]], cost: str) -> None:
    """Spend so much, then say where a call for `big` goes; the first call of this process if that is nothing."""
    with Runtime(store=url, policy=policy) as runtime:
        pay = metered_tool("pay", price=cost, runtime=runtime)(lambda: None)
        ask = metered_model(usage=lambda _: (1, 1), runtime=runtime)(_model)
        with budget_scope(runtime=runtime, tenant="acme"):
            if cost != "0":
                pay()
            results.put([ask("hi", model="big")])


def fail_together(
    url: str, policy: dict[str, Any], barrier: Barrier, results: Queue[tuple[int, list[str]]], at: int
) -> None:
    """Make failing calls in one run until it is halted, together with others; how many, and what was told."""
    with Runtime(store=url, policy=policy) as runtime:
        told: list[str] = []
        runtime.events.on("runaway", lambda event: told.append(event.reason))
        made = 0

        @metered_tool("t", price="0.01", runtime=runtime)
        def tool(number: int) -> None:
            raise ValueError(number)

        with suppress(CallDenied), budget_scope(runtime=runtime, run="r-1", join_run=at > 0):
            barrier.wait(60)
            for number in range(500):
                with suppress(ValueError):
                    tool(at * 1000 + number)
                made += 1
        runtime.call_reports.drain(30)
        runtime.events.drain(30)
        results.put((made, told))


def repeat_together(
    url: str, policy: dict[str, Any], barrier: Barrier, results: Queue[tuple[int, list[str]]], at: int
) -> None:
    """Make the same call in one run, together with others, for as long as it goes on."""
    with Runtime(store=url, policy=policy) as runtime:
        told: list[str] = []
        runtime.events.on("runaway", lambda event: told.append(event.reason))
        made = 0
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda text: text)
        with suppress(CallDenied), budget_scope(runtime=runtime, run="r-1", join_run=at > 0):
            barrier.wait(60)
            for _ in range(500):
                tool("again")
                made += 1
        runtime.call_reports.drain(30)
        runtime.events.drain(30)
        results.put((made, told))


def _model(_text: str, model: str, max_tokens: int = 100) -> str:
    assert max_tokens
    return model
