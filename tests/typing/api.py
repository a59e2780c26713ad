"""What a type checker says of decorated functions. Checked by `test_typing.py`, NOT meant to be executed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from concurrent.futures import Future
from decimal import Decimal
from typing import Any, TypeVar, assert_type

import costscope
from costscope import (
    BudgetExceeded,
    Guard,
    Reservation,
    Runtime,
    Scope,
    ScopedExecutor,
    Usage,
    bind_scope,
    budget_scope,
    metered_model,
    metered_tool,
)
from costscope.guard import (
    AdmissionDecision,
    IterationDecision,
    ModelDecision,
    RunSummary,
    SettledDecision,
    ToolDecision,
)

T = TypeVar("T")


# Functions, bare and called: the signature and the result stay, and so do the errors.
@metered_tool
def bare(query: str, *, limit: int = 10) -> list[str]:
    return [query] * limit


@metered_tool("web_search", price="0.01")
def called(query: str, *, limit: int = 10) -> list[str]:
    return [query] * limit


@metered_model(
    "gpt-4o-mini", estimate="capped", on_error="release", on_lost="charge", idempotency_key="query"
)
def model(query: str, *, max_tokens: int = 300) -> dict[str, int]:
    return {query: max_tokens}


@metered_model
def bare_model(model: str, max_tokens: int) -> str:
    return model * max_tokens


@metered_model()
def empty_model(model: str, max_tokens: int) -> str:
    return model * max_tokens


assert_type(bare("q"), list[str])
assert_type(bare("q", limit=3), list[str])
assert_type(called("q", limit=3), list[str])
assert_type(model("q", max_tokens=3), dict[str, int])
assert_type(bare_model("m", 3), str)
assert_type(empty_model("m", 3), str)

bare(3)  # type: ignore[arg-type]
called("q", limits=3)  # type: ignore[call-arg]
model()  # type: ignore[call-arg]


# Options may be functions, also lambdas, and do not touch the type of what they decorate.
@metered_model(
    "m",
    price=lambda usage: Decimal(usage.input_tokens),
    usage=lambda result: result,
    estimate=lambda text: "0.05",
    on_error=lambda error: "release" if isinstance(error, OSError) else "charge",
    idempotency_key=lambda text: text,
)
def optioned(text: str, max_tokens: int = 5) -> tuple[int, int]:
    return (len(text), max_tokens)


assert_type(optioned("a", max_tokens=3), tuple[int, int])
metered_tool("t", prize="0.01")  # type: ignore[call-overload]
metered_tool("t", on_lost="maybe")  # type: ignore[call-overload]


# Generic functions stay generic.
@metered_tool("first", price="0.01")
def first(items: list[T]) -> T:
    return items[0]


assert_type(first([1]), int)
assert_type(first(["a"]), str)


# Coroutines, generators and async generators.
@metered_model("m")
async def ask(text: str, *, max_tokens: int = 5) -> str:
    return text * max_tokens


@metered_model("m")
def stream(text: str) -> Iterator[str]:
    yield text


@metered_tool
def talk(text: str) -> Generator[str, int, bytes]:
    yield text
    return b""


@metered_model("m")
async def astream(text: str) -> AsyncIterator[str]:
    yield text


async def use() -> None:
    assert_type(await ask("a", max_tokens=1), str)
    waiting = assert_type(ask("a"), Coroutine[Any, Any, str])
    await waiting
    assert_type([item async for item in astream("a")], list[str])


assert_type(list(stream("a")), list[str])
assert_type(talk("a"), Generator[str, int, bytes])


# Methods of every kind, both orders of the decorators.
class Tools:
    @metered_tool("method", price="0.01")
    def method(self, number: int) -> int:
        return number

    @metered_tool
    def bare(self, number: int) -> int:
        return number

    @classmethod
    @metered_tool("outside", price="0.01")
    def class_outside(cls, number: int) -> int:
        return number

    @staticmethod
    @metered_tool("outside", price="0.01")
    def static_outside(number: int) -> int:
        return number

    @metered_model("m")
    async def ask(self, text: str) -> str:
        return text

    @budget_scope(agent="a", max_cost="0.50")
    def scoped(self, number: int) -> int:
        return number


assert_type(Tools().method(1), int)
assert_type(Tools().bare(1), int)
assert_type(Tools.method(Tools(), 1), int)
assert_type(Tools.class_outside(1), int)
assert_type(Tools().class_outside(1), int)
assert_type(Tools.static_outside(1), int)
waiting = assert_type(Tools().ask("a"), Coroutine[Any, Any, str])
assert_type(Tools().scoped(1), int)


# Scopes.
@budget_scope(tenant="acme", run="r-1", max_cost=Decimal(2), max_tool_calls=5)
def scoped(number: int) -> str:
    return str(number)


assert_type(scoped(1), str)
scoped("1")  # type: ignore[arg-type]

with budget_scope(tenant="acme") as scope:
    assert_type(scope, Scope)
    assert_type(scope.spent, Decimal)
    assert_type(scope.remaining, Decimal | None)
    assert_type(scope.labels, dict[str, str])

budget_scope(tenant=3)  # type: ignore[arg-type]
budget_scope(max_tokens="3")  # type: ignore[arg-type]


async def enter() -> None:
    async with budget_scope(tenant="acme", max_cost="1") as scope:
        assert_type(scope, Scope)
    async with costscope.reserve(model="m", input_text="a", max_output_tokens=5) as hold:
        assert_type(hold, Reservation)


with costscope.reserve(tool="t", price="0.01") as hold:
    assert_type(hold.max_tokens, int | None)
    hold.commit(Usage(10, 5))
    hold.commit()

# Threads.
assert_type(bind_scope(called)("q", limit=1), list[str])
with ScopedExecutor(4) as pool:
    assert_type(pool.submit(called, "q", limit=1), Future[list[str]])

# The runtime and the errors.
runtime: Runtime = costscope.configure(store="memory://", lease_s=60.0)
costscope.configure(leases=60)  # type: ignore[call-arg]

try:
    called("q")
except BudgetExceeded as error:
    assert_type(error.limit, int)
    assert_type(error.retry_after, float | None)


# The hooks of a guard: every decision has its type, and a misspelt part of a request is an error.
def hooks(guard: Guard) -> None:
    assert_type(guard.on_run_start("r", tenant="acme", max_cost="1"), AdmissionDecision)
    assert_type(guard.before_iteration("r"), IterationDecision)
    decision = guard.before_model_call("r", "gpt-4o", messages="Hi", max_tokens=3, request={"n": 2})
    assert_type(decision, ModelDecision)
    assert_type(decision.max_tokens, int | None)
    assert_type(guard.after_model_call("r", (1, 2), call_id=decision.call_id), SettledDecision)
    assert_type(guard.before_tool_call("r", "search", price="0.01"), ToolDecision)
    assert_type(guard.after_tool_call("r", "0.02"), SettledDecision)
    summary = guard.on_run_end("r", "completed")
    assert_type(summary, RunSummary)
    assert_type(summary.cost, Decimal)
    guard.before_model_call("r", "gpt-4o", max_token=3)  # type: ignore[call-arg]


async def ahooks(guard: Guard) -> None:
    assert_type(await guard.abefore_model_call("r", "gpt-4o", stage="planning"), ModelDecision)
    assert_type(await guard.aon_run_end("r"), RunSummary)
