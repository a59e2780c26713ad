"""The real SDKs, metered, against providers that keep a bill of their own: the ledger says what the bill says."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import anthropic
import openai
import pytest
from fake_providers import Answer, Gate
from running import Books, make_runtime, make_store, patient_url, store_kind  # noqa: F401 - fixtures

from costscope import BudgetExceeded, ScopedExecutor, bind_scope, budget_scope, metered_model

INPUT, OUTPUT = 1_000, 2_000
PRICE = {"input": "1.00", "output": "2.00"}  # per million: 1,000 and 2,000 nano-units per token
MESSAGES = [{"role": "user", "content": "héllo"}]
OPENAI_STREAM = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def policy():
    return {"budgets": [{"id": "all", "limits": {"cost": "1000", "tokens": 10**9}}]}


@pytest.fixture
def runtime(make_runtime):  # noqa: F811 - the fixture
    return make_runtime()


@pytest.fixture
def books(runtime):
    return Books(runtime)


@pytest.fixture
def bill(provider):
    return lambda: provider.billed(input_price=INPUT, output_price=OUTPUT)


@pytest.fixture
def openai_client(provider):
    with openai.OpenAI(**provider.openai) as client:
        yield client


@pytest.fixture
def anthropic_client(provider):
    with anthropic.Anthropic(**provider.anthropic) as client:
        yield client


@pytest.fixture
def calls(runtime, openai_client, anthropic_client):
    """Every way to call a model, as users decorate it: `call(max_tokens=...)`."""
    model = metered_model("m", price=PRICE, runtime=runtime)

    @model
    def chat(messages=MESSAGES, max_tokens=300):
        return openai_client.chat.completions.create(model="m", messages=messages, max_tokens=max_tokens)

    @model
    def chat_streamed(messages=MESSAGES, max_tokens=300):
        return openai_client.chat.completions.create(
            model="m", messages=messages, max_tokens=max_tokens, **OPENAI_STREAM
        )

    @model
    def responses(text="héllo", max_output_tokens=300):
        return openai_client.responses.create(model="m", input=text, max_output_tokens=max_output_tokens)

    @model
    def responses_streamed(text="héllo", max_output_tokens=300):
        return openai_client.responses.create(
            model="m", input=text, max_output_tokens=max_output_tokens, stream=True
        )

    @model
    def message(messages=MESSAGES, max_tokens=300):
        return anthropic_client.messages.create(model="m", messages=messages, max_tokens=max_tokens)

    @model
    def message_streamed(messages=MESSAGES, max_tokens=300):
        return anthropic_client.messages.create(
            model="m", messages=messages, max_tokens=max_tokens, stream=True
        )

    return {
        "chat": chat,
        "chat streamed": lambda **options: list(chat_streamed(**options)),
        "responses": lambda max_tokens=300: responses(max_output_tokens=max_tokens),
        "responses streamed": lambda max_tokens=300: list(responses_streamed(max_output_tokens=max_tokens)),
        "message": message,
        "message streamed": lambda **options: list(message_streamed(**options)),
    }


CALLS = ["chat", "chat streamed", "responses", "responses streamed", "message", "message streamed"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(output_tokens=10_000),
        Answer(input_tokens=100, cache_read_tokens=40, reasoning_tokens=7),
        Answer(output_tokens=0),
    ],
    ids=["plain", "cut at its limit", "cached and reasoning", "empty"],
)
def test_the_ledger_says_what_the_bill_says(call, answer, calls, provider, runtime, books, bill):
    provider.default = answer
    with budget_scope(runtime=runtime, max_cost="1") as scope:
        calls[call]()
        calls[call](max_tokens=16)
        scope.refresh()
    assert len(provider.bill) == 2
    assert books.spent() == bill()
    assert scope.spent * 10**9 == bill()
    books.settle()


@pytest.fixture
def acalls(runtime, provider):
    """The same with the async clients; each makes its own, for an event loop of its own."""
    model = metered_model("m", price=PRICE, runtime=runtime)

    @model
    async def chat(client, messages=MESSAGES, max_tokens=300):
        return await client.chat.completions.create(model="m", messages=messages, max_tokens=max_tokens)

    @model
    async def chat_streamed(client, messages=MESSAGES, max_tokens=300):
        return await client.chat.completions.create(
            model="m", messages=messages, max_tokens=max_tokens, **OPENAI_STREAM
        )

    @model
    async def responses_streamed(client, text="héllo", max_output_tokens=300):
        return await client.responses.create(
            model="m", input=text, max_output_tokens=max_output_tokens, stream=True
        )

    @model
    async def message(client, messages=MESSAGES, max_tokens=300):
        return await client.messages.create(model="m", messages=messages, max_tokens=max_tokens)

    @model
    def message_stream(client, messages=MESSAGES, max_tokens=300):
        return client.messages.stream(model="m", messages=messages, max_tokens=max_tokens)

    async def read(stream):
        return [item async for item in await stream]

    async def manage(client):
        async with message_stream(client) as stream:
            text = "".join([part async for part in stream.text_stream])
            final = await stream.get_final_message()
        assert final.content[0].text == text

    async def all_of_them():
        async with (
            openai.AsyncOpenAI(**provider.openai) as one,
            anthropic.AsyncAnthropic(**provider.anthropic) as two,
        ):
            await asyncio.gather(
                chat(one), read(chat_streamed(one)), read(responses_streamed(one)), message(two), manage(two)
            )
        await runtime.store.aclose()

    return all_of_them


def test_the_async_clients_side_by_side(acalls, runtime, books, bill, provider):
    with budget_scope(runtime=runtime, max_cost="1"):
        asyncio.run(acalls())
        asyncio.run(acalls())
    assert len(provider.bill) == 10
    assert books.spent() == bill()
    books.settle()


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.get_final_message(),
        lambda stream: stream.until_done(),
        lambda stream: "".join(stream.text_stream),
        list,
        lambda stream: stream.get_final_text(),
    ],
    ids=["final message", "until done", "text", "events", "final text"],
)
def test_anthropics_stream_helper_however_it_is_read(read, runtime, anthropic_client, books, bill):
    @metered_model("m", price=PRICE, runtime=runtime)
    def ask(max_tokens=300):
        return anthropic_client.messages.stream(model="m", messages=MESSAGES, max_tokens=max_tokens)

    with budget_scope(runtime=runtime):
        with ask() as stream:
            read(stream)
        assert stream.get_final_message().usage.output_tokens == 20
    assert books.spent() == bill()
    books.settle()


def test_anthropics_stream_helper_left_early_is_charged_in_full(
    provider, runtime, anthropic_client, books, bill
):
    @metered_model("m", price=PRICE, runtime=runtime)
    def ask(max_tokens=300):
        return anthropic_client.messages.stream(model="m", messages=MESSAGES, max_tokens=max_tokens)

    gate = Gate()
    provider.answer(Answer(gate=gate, gate_after=2))
    with budget_scope(runtime=runtime), ask() as stream:
        next(iter(stream))
        gate.open()
    assert books.spent() > bill() > 0
    books.settle()


BROKEN = [Answer(break_after=0), Answer(break_after=2), Answer(usage=False), Answer(status=500)]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", BROKEN, ids=["no answer", "broken off", "no usage", "error"])
def test_a_broken_call_is_charged_at_least_what_the_provider_bills(
    call, answer, calls, provider, runtime, books, bill
):
    provider.default = answer
    with budget_scope(runtime=runtime), suppress(openai.OpenAIError, anthropic.AnthropicError, Exception):
        calls[call]()
    gc.collect()
    assert len(provider.received) == 1
    assert books.spent() >= bill()
    if answer.status >= 400:
        assert books.spent() == 0
    books.settle()


@pytest.mark.parametrize("call", ["chat streamed", "responses streamed", "message streamed"])
def test_a_stream_that_nobody_reads_to_its_end(
    call, provider, runtime, books, bill, openai_client, anthropic_client
):
    gate = Gate()
    provider.answer(Answer(gate=gate, gate_after=2, pieces=6))
    sdk = {
        "chat streamed": lambda max_tokens: openai_client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=max_tokens, **OPENAI_STREAM
        ),
        "responses streamed": lambda max_tokens: openai_client.responses.create(
            model="m", input="héllo", max_output_tokens=max_tokens, stream=True
        ),
        "message streamed": lambda max_tokens: anthropic_client.messages.create(
            model="m", messages=MESSAGES, max_tokens=max_tokens, stream=True
        ),
    }[call]

    @metered_model("m", price=PRICE, runtime=runtime)
    def ask(text="héllo", max_tokens=300):
        return sdk(max_tokens)

    with budget_scope(runtime=runtime):
        stream = ask()
        next(stream)
        stream.close()
    gate.open()
    assert books.spent() >= 300 * OUTPUT
    assert books.spent() >= bill()
    books.settle()


def test_the_sdks_own_type_and_attributes_stay(runtime, openai_client, books):
    @metered_model("m", price=PRICE, runtime=runtime)
    def ask(max_tokens=300):
        return openai_client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=max_tokens, **OPENAI_STREAM
        )

    with budget_scope(runtime=runtime), ask() as stream:
        assert isinstance(stream, openai.Stream)
        assert stream.response.status_code == 200
        assert len(list(stream)) == 7
    books.settle()


# ------------------------------------------------------------------------------- the ceiling

LIMIT = 2_000_000  # USD 0.002


def hard(runtime, provider, **options):
    """A metered call of which only a few fit into the limit, and the scope that limits it."""
    client = openai.OpenAI(**provider.openai)

    @metered_model("m", price=PRICE, runtime=runtime, **options)
    def ask(messages=MESSAGES, max_tokens=100):
        return client.chat.completions.create(model="m", messages=messages, max_tokens=max_tokens)

    return client, ask


@pytest.mark.parametrize("estimate", ["strict", "capped"])
def test_the_ceiling_holds_for_threads(estimate, provider, runtime, books, bill):
    provider.default = Answer(output_tokens=10_000)
    client, ask = hard(runtime, provider, estimate=estimate)
    refused = []

    def work():
        for _ in range(4):
            try:
                ask()
            except BudgetExceeded as error:
                refused.append(error.kind)

    with client, budget_scope(runtime=runtime, max_cost="0.002"), ScopedExecutor(12) as pool:
        for done in [pool.submit(work) for _ in range(12)]:
            done.result()
    assert 0 < bill() <= LIMIT
    assert books.spent("cost", "~scope") == bill()
    assert refused
    books.settle()


def test_the_ceiling_holds_for_tasks(provider, runtime, books, bill):
    provider.default = Answer(output_tokens=10_000)

    @metered_model("m", price=PRICE, runtime=runtime, estimate="capped")
    async def ask(client, max_tokens=200):
        return await client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=max_tokens, **OPENAI_STREAM
        )

    async def agent(client):
        for _ in range(4):
            with suppress(BudgetExceeded):
                async for _chunk in await ask(client):
                    pass

    async def main():
        async with openai.AsyncOpenAI(**provider.openai) as client:
            await asyncio.gather(*(agent(client) for _ in range(24)))
        await runtime.store.aclose()

    with budget_scope(runtime=runtime, max_cost="0.002"):
        asyncio.run(main())
    assert 0 < bill() <= LIMIT
    assert books.spent("cost", "~scope") == bill()
    books.settle()


def test_the_ceiling_holds_while_everything_breaks(provider, runtime, books, bill):
    """Whatever the provider and the readers do, it does not get more than the limit out of us."""
    provider.default = Answer(output_tokens=10_000)
    provider.answer(*[Answer(output_tokens=10_000, break_after=n % 4, pieces=4) for n in range(6)])
    client = openai.OpenAI(**provider.openai)

    @metered_model("m", price=PRICE, runtime=runtime)
    def ask(max_tokens=20):
        return client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=max_tokens, **OPENAI_STREAM
        )

    def work(number):
        with suppress(BudgetExceeded, openai.APIError, Exception):
            stream = ask()
            if number % 3:
                next(stream)
            else:
                list(stream)

    with client, budget_scope(runtime=runtime, max_cost="0.01"), ScopedExecutor(8) as pool:
        list(pool.map(work, range(64)))
    gc.collect()
    assert 0 < bill() <= 10_000_000
    assert books.spent("cost", "~scope") >= bill()
    books.settle()


def test_capped_lowers_the_limit_that_the_provider_receives(provider, runtime, books, bill):
    provider.default = Answer(output_tokens=10_000)
    client, ask = hard(runtime, provider, estimate="capped")
    with client, budget_scope(runtime=runtime, max_cost="0.0012") as scope:
        result = ask(max_tokens=5_000)
    (request,) = provider.received
    assert 16 <= request.body["max_tokens"] < 100
    assert result.choices[0].finish_reason == "length"
    assert result.usage.completion_tokens == request.body["max_tokens"]
    assert scope.spent is not None
    assert bill() <= 1_200_000
    books.settle()


def test_a_call_without_a_limit_of_its_own_is_given_one(provider, runtime, openai_client, books):
    @metered_model("m", price=PRICE, runtime=runtime)
    def ask(messages, **options):
        return openai_client.chat.completions.create(model="m", messages=messages, **options)

    with budget_scope(runtime=runtime):
        ask(MESSAGES)
    sent = provider.received[0].body
    assert 4096 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    books.settle()


def test_threads_bound_to_a_scope_count_in_it(provider, runtime, books, bill):
    client, ask = hard(runtime, provider)
    with client, budget_scope(runtime=runtime, max_cost="1"):
        threads = [threading.Thread(target=bind_scope(ask)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with ThreadPoolExecutor(2) as pool:
            pool.submit(bind_scope(ask)).result()
    assert len(provider.bill) == 6
    assert books.spent("cost", "~scope") == bill()
    books.settle()
