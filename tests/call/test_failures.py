"""Which exceptions prove that nothing was billed: real ones, of real SDKs and real sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
import urllib.error
import urllib.request

import anthropic
import httpx2
import openai
import pytest
from fake_providers import Answer, Gate

import costscope
from costscope import budget_scope, metered_model, metered_tool
from costscope.metered.results import not_billed

HELD = 10_000_000
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def nobody() -> str:
    """A loopback address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 529])
def test_an_error_answer_is_not_billed(status, provider, runtime, books):
    provider.default = Answer(status=status)

    @metered_model("m", price="0.01", runtime=runtime)
    def ask_openai(max_tokens=5):
        with openai.OpenAI(**provider.openai) as client:
            return client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=max_tokens)

    @metered_model("m", price="0.01", runtime=runtime)
    async def ask_anthropic(max_tokens=5):
        async with anthropic.AsyncAnthropic(**provider.anthropic) as client:
            return await client.messages.create(model="m", messages=MESSAGES, max_tokens=max_tokens)

    with budget_scope(runtime=runtime):
        with pytest.raises(openai.APIStatusError):
            ask_openai()
        with pytest.raises(anthropic.APIStatusError):
            asyncio.run(ask_anthropic())
    assert len(provider.received) == 2
    assert books.spent() == 0 == len(provider.bill)
    books.settle()


def test_a_streamed_call_that_is_refused_is_not_billed(provider, runtime, books):
    provider.default = Answer(status=429)

    @metered_model("m", price="0.01", runtime=runtime)
    def ask(max_tokens=5):
        client = anthropic.Anthropic(**provider.anthropic)
        return client.messages.stream(model="m", messages=MESSAGES, max_tokens=max_tokens)

    with budget_scope(runtime=runtime), pytest.raises(anthropic.RateLimitError), ask():
        raise AssertionError
    assert books.spent() == 0
    books.settle()


def test_nobody_at_the_address_is_not_billed(nobody, runtime, books):
    @metered_model("m", price="0.01", runtime=runtime)
    def ask(max_tokens=5):
        with openai.OpenAI(base_url=nobody, api_key="x", max_retries=0) as client:
            return client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=max_tokens)

    @metered_tool("fetch", price="0.01", runtime=runtime)
    def fetch():
        with urllib.request.urlopen(nobody) as answer:
            return answer.read()

    @metered_tool("dial", price="0.01", runtime=runtime)
    async def dial():
        await asyncio.open_connection("127.0.0.1", int(nobody.rpartition(":")[2]))

    with budget_scope(runtime=runtime):
        with pytest.raises(openai.APIConnectionError):
            ask()
        with pytest.raises(urllib.error.URLError):
            fetch()
        with pytest.raises(ConnectionRefusedError):
            asyncio.run(dial())
    counters = books.counters()
    assert (counters.spent, counters.released) == (0, 3 * HELD)
    books.settle()


def test_a_time_out_of_the_client_is_charged(provider, runtime, books):
    """The provider got the request and is working on it."""
    gate = Gate()
    provider.answer(Answer(gate=gate))

    @metered_model("m", price="0.01", runtime=runtime)
    def ask(max_tokens=5):
        with openai.OpenAI(**provider.openai, timeout=0.2) as client:
            return client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=max_tokens)

    with budget_scope(runtime=runtime), pytest.raises(openai.APITimeoutError):
        ask()
    gate.open()
    assert books.spent() == HELD
    books.settle()


def test_a_connection_that_breaks_before_the_answer_is_charged(provider, runtime, books):
    provider.answer(Answer(break_after=0))

    @metered_model("m", price="0.01", runtime=runtime)
    def ask(max_tokens=5):
        with openai.OpenAI(**provider.openai) as client:
            return client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=max_tokens)

    with budget_scope(runtime=runtime), pytest.raises(openai.APIConnectionError):
        ask()
    assert books.spent() == HELD
    books.settle()


class Wrapped(Exception):
    """As frameworks wrap what SDKs raise."""


def raised_from(error: BaseException) -> BaseException:
    wrapped = Wrapped()
    wrapped.__cause__ = error
    return wrapped


def carrying(**attributes: object) -> Exception:
    error = Wrapped()
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def during(error: Exception) -> Exception:
    """Raised while another was handled, not from it: that one may be of an earlier attempt."""
    wrapped = Wrapped()
    wrapped.__context__ = error
    return wrapped


class Response:
    status_code = 503


@pytest.mark.parametrize(
    "error",
    [
        costscope.NotBilled(),
        raised_from(costscope.NotBilled()),
        raised_from(raised_from(ConnectionRefusedError())),
        OSError(errno.EHOSTUNREACH, "no route"),
        OSError(errno.ENETUNREACH, "no network"),
        socket.gaierror(),
        carrying(status_code=429),
        carrying(code=503),
        carrying(response=Response()),
        raised_from(carrying(status_code=500)),
        httpx2.ConnectError("refused"),
        httpx2.ConnectTimeout("no answer"),
        httpx2.PoolTimeout("busy"),
    ],
    ids=repr,
)
def test_proof_that_nothing_was_billed(error):
    assert not_billed(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        TimeoutError(),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
        ConnectionResetError(),
        BrokenPipeError(),
        during(ConnectionRefusedError()),
        carrying(status_code=200),
        carrying(status_code=302),
        carrying(status_code="503"),
        carrying(status_code=True),
        carrying(code="rate_limit"),
        carrying(code=1),
        carrying(status_code=99999),
        httpx2.ReadTimeout("no answer"),
        httpx2.RemoteProtocolError("broken"),
        type("ConnectError", (Exception,), {"__module__": "httpx_lookalike"})(),
        raised_from(carrying(status_code=200)),
    ],
    ids=repr,
)
def test_anything_else_may_have_cost_money(error):
    assert not not_billed(error)


def test_an_endless_chain_of_causes_ends():
    first, second = Wrapped(), Wrapped()
    first.__cause__, second.__cause__ = second, first
    assert not not_billed(first)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_the_function_raises_comes_out_unchanged(error, runtime, books, colour):
    if colour.name == "async" and error is not ValueError:
        pytest.skip("an event loop has its own way with these")
    raised = error("mine")

    def fail():
        raise raised

    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(fail))
    with budget_scope(runtime=runtime), pytest.raises(error) as caught:
        colour.run(tool)
    assert caught.value is raised
    assert caught.value.__context__ is None
    assert books.spent() == HELD
    books.settle()


def test_the_failed_call_frees_its_slot_in_the_context(runtime, books):
    """After a failure the next call is its own, not one inside the failed one."""

    @metered_tool("t", price="0.01", runtime=runtime)
    def fail():
        raise ValueError

    with budget_scope(runtime=runtime):
        for _ in range(3):
            with pytest.raises(ValueError):
                fail()
    assert books.spent("tool_calls") == 3
