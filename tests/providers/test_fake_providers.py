"""The fake provider, spoken to by the real SDKs: what they understand of it, and what it puts on its bill."""

import asyncio
import threading

import anthropic
import httpx2
import openai
import pytest
from fake_providers import Answer, FakeProvider, Gate

MESSAGES = [{"role": "user", "content": "héllo"}]  # 6 bytes
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES}
RESPONSES = {"model": "gpt-4o-mini", "input": "héllo", "instructions": "be short"}
CLAUDE = {"model": "claude-fake", "messages": MESSAGES, "max_tokens": 300}
CACHED = Answer(
    input_tokens=100, output_tokens=40, cache_read_tokens=30, cache_write_tokens=20, reasoning_tokens=8
)
TEXT = "word0 word1 word2 word3 "


@pytest.fixture
def openai_client(provider):
    with openai.OpenAI(**provider.openai) as client:
        yield client


@pytest.fixture
def anthropic_client(provider):
    with anthropic.Anthropic(**provider.anthropic) as client:
        yield client


def test_openai_chat(provider, openai_client):
    provider.answer(CACHED)
    done = openai_client.chat.completions.create(**CHAT)
    assert done.choices[0].message.content == TEXT
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (100, 40)
    assert done.usage.prompt_tokens_details.cached_tokens == 30
    assert done.usage.completion_tokens_details.reasoning_tokens == 8
    (charge,) = provider.bill
    assert (charge.model, charge.input_tokens, charge.output_tokens) == ("gpt-4o-mini", 100, 40)


@pytest.mark.parametrize("include_usage", [True, False])
def test_openai_chat_streamed_says_its_usage_only_when_asked(provider, openai_client, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    chunks = list(openai_client.chat.completions.create(**CHAT, stream=True, **options))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.completion_tokens for usage in usages] == ([20] if include_usage else [])
    assert provider.bill[0].output_tokens == 20


def test_openai_chat_bills_every_choice(provider, openai_client):
    done = openai_client.chat.completions.create(**CHAT, n=3, max_completion_tokens=7)
    assert [choice.finish_reason for choice in done.choices] == ["length"] * 3
    assert done.usage.completion_tokens == provider.bill[0].output_tokens == 21


def test_openai_responses(provider, openai_client):
    provider.answer(CACHED)
    done = openai_client.responses.create(**RESPONSES)
    assert done.output_text == TEXT
    assert (done.usage.input_tokens, done.usage.output_tokens) == (100, 40)
    assert done.usage.input_tokens_details.cached_tokens == 30
    assert done.usage.output_tokens_details.reasoning_tokens == 8


@pytest.mark.parametrize(("limit", "last"), [(1000, "response.completed"), (16, "response.incomplete")])
def test_openai_responses_streamed(provider, openai_client, limit, last):
    events = list(openai_client.responses.create(**RESPONSES, stream=True, max_output_tokens=limit))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert events[-1].type == last
    assert events[-1].response.usage.output_tokens == provider.bill[0].output_tokens == min(20, limit)


def test_anthropic(provider, anthropic_client):
    provider.answer(CACHED)
    done = anthropic_client.messages.create(**CLAUDE)
    assert done.content[0].text == TEXT
    usage = done.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (
        50,
        30,
        20,
    )
    assert usage.output_tokens == 40
    assert provider.bill[0].input_tokens == 100, "the bill counts cached tokens as a part of the input"


def test_anthropic_streamed(provider, anthropic_client):
    with anthropic_client.messages.stream(**CLAUDE) as stream:
        assert "".join(stream.text_stream) == TEXT
        final = stream.get_final_message()
    assert final.usage.output_tokens == provider.bill[0].output_tokens == 20
    events = list(anthropic_client.messages.create(**CLAUDE, stream=True))
    assert [events[0].type, events[-1].type] == ["message_start", "message_stop"]


def test_the_async_clients(provider):
    async def talk():
        async with openai.AsyncOpenAI(**provider.openai) as client:
            chat = await client.chat.completions.create(**CHAT)
            stream = await client.chat.completions.create(**CHAT, stream=True)
            chunks = [chunk async for chunk in stream]
            events = [event async for event in await client.responses.create(**RESPONSES, stream=True)]
        async with anthropic.AsyncAnthropic(**provider.anthropic) as client:
            message = await client.messages.create(**CLAUDE)
            async with client.messages.stream(**CLAUDE) as stream:
                text = "".join([part async for part in stream.text_stream])
        return chat.usage.completion_tokens, len(chunks), events[-1].type, message.usage.output_tokens, text

    assert asyncio.run(talk()) == (20, 6, "response.completed", 20, TEXT)
    assert len(provider.bill) == 5


def test_the_input_is_billed_by_the_byte_unless_told_otherwise(provider, openai_client, anthropic_client):
    openai_client.chat.completions.create(**CHAT)
    openai_client.responses.create(**RESPONSES)
    anthropic_client.messages.create(**CLAUDE, system=[{"type": "text", "text": "ab"}])
    assert [charge.input_tokens for charge in provider.bill] == [6, 6 + 8, 6 + 2]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (529, "InternalServerError"),
    ],
)
def test_an_error_status_is_the_sdks_own_error_and_costs_nothing(
    provider, openai_client, anthropic_client, status, error
):
    provider.default = Answer(status=status)
    with pytest.raises(getattr(openai, error)):
        openai_client.chat.completions.create(**CHAT, stream=True)
    with pytest.raises(getattr(openai, error)):
        openai_client.responses.create(**RESPONSES)
    with pytest.raises(getattr(anthropic, error), match=f"fake {status}"):
        anthropic_client.messages.create(**CLAUDE)
    assert provider.bill == []
    assert [request.status for request in provider.received] == [status] * 3


def test_an_sdk_that_retries_is_answered_and_billed_once(provider, openai_client):
    provider.answer(Answer(status=500), Answer(status=429))
    openai_client.with_options(max_retries=2).chat.completions.create(**CHAT)
    assert [request.status for request in provider.received] == [500, 429, 200]
    assert len(provider.bill) == 1


def test_a_stream_broken_in_the_middle_is_billed_as_far_as_it_came(provider, openai_client, anthropic_client):
    provider.default = Answer(output_tokens=10, break_after=3, pieces=4)
    seen = []
    stream = openai_client.chat.completions.create(**CHAT, stream=True)
    with pytest.raises(openai.APIConnectionError):
        seen.extend(choice.delta.content for chunk in stream for choice in chunk.choices)
    assert "".join(seen) == "word0 word1 word2 "
    stream = anthropic_client.messages.create(**CLAUDE, stream=True)
    with pytest.raises(
        (anthropic.APIConnectionError, httpx2.RemoteProtocolError)
    ):  # 2.12 passes it on as it is
        seen.extend(stream)
    assert [charge.output_tokens for charge in provider.bill] == [8, 8]


def test_a_connection_dropped_before_the_response(provider, openai_client):
    provider.answer(Answer(break_after=0))
    with pytest.raises(openai.APIConnectionError):
        openai_client.chat.completions.create(**CHAT)
    assert provider.bill[0].output_tokens == 0
    assert openai_client.chat.completions.create(**CHAT).usage.completion_tokens == 20


def test_a_gate_holds_the_response_and_the_money_is_owed_already(provider, openai_client):
    gate, done = Gate(), []
    provider.answer(Answer(gate=gate))
    client = threading.Thread(target=lambda: done.append(openai_client.chat.completions.create(**CHAT)))
    client.start()
    assert gate.reached.wait(20)
    assert not done
    assert len(provider.bill) == 1
    gate.open()
    client.join()
    assert done[0].usage.completion_tokens == 20


def test_a_client_that_leaves_a_stream_pays_all_of_it(provider, anthropic_client):
    gate = Gate()
    provider.answer(Answer(gate=gate, gate_after=2))
    stream = anthropic_client.messages.create(**CLAUDE, stream=True)
    assert gate.reached.wait(20)
    stream.close()
    gate.open()
    assert provider.bill[0].output_tokens == 20


def test_usage_can_be_missing(provider, openai_client):
    provider.default = Answer(usage=False)
    assert openai_client.chat.completions.create(**CHAT).usage is None
    assert openai_client.responses.create(**RESPONSES).usage is None


def test_the_bill_in_money(provider, openai_client):
    provider.answer(CACHED, CACHED)
    openai_client.chat.completions.create(**CHAT)
    openai_client.chat.completions.create(**CHAT)
    assert provider.billed(input_price=150, output_price=600) == 2 * (100 * 150 + 40 * 600)
    assert provider.billed(input_price=150, output_price=600, cache_read_price=75) == 2 * (
        70 * 150 + 30 * 75 + 40 * 600
    )


def test_sixty_four_clients_at_once(provider):
    def ask():
        with openai.OpenAI(**provider.openai) as client:
            client.chat.completions.create(**CHAT)

    clients = [threading.Thread(target=ask) for _ in range(64)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(provider.bill) == 64
    assert len({request.headers["Host"] for request in provider.received}) == 1


def test_nothing_is_left_running_even_with_a_gate_nobody_opened(openai_client):
    before, gate = set(threading.enumerate()), Gate()
    with FakeProvider() as provider:
        provider.answer(Answer(gate=gate))
        failures = []

        def ask():
            with openai.OpenAI(**provider.openai) as client:
                try:
                    client.chat.completions.create(**CHAT)
                except openai.APIConnectionError as error:
                    failures.append(error)

        client = threading.Thread(target=ask)
        client.start()
        assert gate.reached.wait(20)
    client.join()
    assert set(threading.enumerate()) <= before
