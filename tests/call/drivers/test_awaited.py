"""Plain functions that return a coroutine, as the async SDKs' methods are: settled when it has run."""

from __future__ import annotations

import asyncio
import gc
import inspect

import anthropic
import openai
import pytest
from fake_providers import Answer

from costscope import BudgetExceeded, Usage, budget_scope, metered_model

PRICE = {"input": "1.00", "output": "2.00"}
MESSAGES = [{"role": "user", "content": "héllo"}]


@pytest.fixture
def bill(provider):
    return lambda: provider.billed(input_price=1_000, output_price=2_000)


@pytest.fixture
def metered(runtime):
    return metered_model(price=PRICE, runtime=runtime)


def test_an_async_sdks_own_method_is_metered_as_it_is(metered, provider, runtime, books, bill):
    async def main():
        async with (
            openai.AsyncOpenAI(**provider.openai) as one,
            anthropic.AsyncAnthropic(**provider.anthropic) as two,
        ):
            chat, message = metered(one.chat.completions.create), metered(two.messages.create)
            assert not inspect.iscoroutinefunction(chat), "what makes this a case of its own"
            options = {"model": "m", "messages": MESSAGES, "max_tokens": 300}
            answers = await asyncio.gather(
                chat(**options), message(**options), asyncio.create_task(chat(**options))
            )
            assert [type(answer).__name__ for answer in answers] == [
                "ChatCompletion",
                "Message",
                "ChatCompletion",
            ]
            stream = await chat(**options, stream=True, stream_options={"include_usage": True})
            assert len([chunk async for chunk in stream]) == 7
        await runtime.store.aclose()

    with budget_scope(runtime=runtime):
        asyncio.run(main())
    assert len(provider.bill) == 4
    assert books.spent() == bill()
    books.settle()


def test_an_error_of_the_provider_is_not_billed(metered, provider, runtime, books):
    provider.default = Answer(status=500)

    async def main():
        async with openai.AsyncOpenAI(**provider.openai) as client:
            await metered(client.chat.completions.create)(model="m", messages=MESSAGES, max_tokens=30)

    with budget_scope(runtime=runtime), pytest.raises(openai.InternalServerError):
        asyncio.run(main())
    assert books.spent() == 0
    books.settle()


def plainly(body):
    """A plain function that returns the coroutine."""

    def plain(text):
        return body(text)

    return plain


@pytest.fixture
def ask(runtime):
    """A plain function around a coroutine function, and how often that ran to its end."""
    ran = []

    async def body(text):
        await asyncio.sleep(0)
        ran.append(text)
        return Usage(10, 5)

    function = metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)(plainly(body))
    function.ran = ran
    return function


def test_dropped_unawaited_it_is_charged(ask, runtime, books):
    def drop():
        ask("hi")
        gc.collect()

    with budget_scope(runtime=runtime), pytest.warns(RuntimeWarning, match="never awaited"):
        drop()
    assert books.spent() == 50_000_000
    books.settle()


def test_closed_unawaited_it_is_charged(ask, runtime, books):
    with budget_scope(runtime=runtime):
        waiting = ask("hi")
        waiting.close()
        del waiting
    assert books.spent() == 50_000_000
    books.settle()


@pytest.mark.parametrize("steps", range(4))
def test_cancelled_at_each_step(steps, ask, runtime, books):
    async def main():
        task = asyncio.ensure_future(ask("hi"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runtime.store.aclose()

    with budget_scope(runtime=runtime):
        asyncio.run(main())
    gc.collect()
    assert books.spent() in (20_000, 50_000_000)
    books.settle()


def test_a_refusal_comes_at_the_call(ask, runtime):
    with budget_scope(runtime=runtime, max_cost="0.01"), pytest.raises(BudgetExceeded):
        ask("hi")


def test_it_is_a_coroutine_to_everybody_who_asks(ask, runtime, books):
    with budget_scope(runtime=runtime):
        waiting = ask("hi")
        assert inspect.iscoroutine(waiting)
        assert inspect.isawaitable(waiting)
        assert asyncio.run(waiting) == Usage(10, 5)
    assert books.spent() == 20_000
    books.settle()


def test_metered_calls_inside_are_covered(ask, runtime, books):
    inner = metered_model("m", price="0.01", runtime=runtime)(lambda text: Usage(1, 1))

    async def body(text):
        inner(text)
        return Usage(10, 5)

    outer = metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)(plainly(body))
    with budget_scope(runtime=runtime):
        asyncio.run(outer("hi"))
    assert books.spent("model_calls") == 1
    assert books.spent() == 20_000
    books.settle()
