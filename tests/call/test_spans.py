"""A span for every metered call, whatever becomes of it: one, ended, in its place, with what the call came to."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import contextmanager, suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import costscope
from costscope import (
    BudgetExceeded,
    CallUnscoped,
    HoldMismatch,
    ModelUnpriced,
    NotBilled,
    StoreUnavailable,
    budget_scope,
    metered_model,
    metered_tool,
)
from costscope.metered.options import Return, Wait
from costscope.scope.runtime import services_of
from costscope.testing import OutageStore

PRICE = {"input": "1", "output": "2"}
ANSWER = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}
COST = 10 * 1000 + 5 * 2000
CHUNK = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
LAST = {"choices": [], **ANSWER}
WHOLE = [CHUNK, {"choices": [{"index": 0, "finish_reason": "stop"}]}, LAST]


class Traced:
    """An SDK in memory, and a span of the user's around everything."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("user")

    @contextmanager
    def around(self):
        """Whatever happens in here, the span that was current is so again."""
        with self.tracer.start_as_current_span("user's") as span:
            yield span
            assert trace.get_current_span() is span

    def inner(self):
        """What the metered function itself traces."""
        with self.tracer.start_as_current_span("request"):
            return trace.get_current_span().get_span_context().span_id

    def ended(self, name):
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def only(self, name):
        """The one span of that name; a child of the user's."""
        [span] = self.ended(name)
        [outer] = self.ended("user's")
        assert span.parent is not None
        assert span.parent.span_id == outer.context.span_id
        return span


@pytest.fixture
def traced():
    traced = Traced()
    yield traced
    traced.provider.shutdown()


@pytest.fixture
def policy():
    return {"budgets": [{"id": "all", "limits": {"cost": "1.00"}}]}


@pytest.fixture
def runtime(make_runtime, traced):
    return make_runtime(tracing=traced.provider)


def said(span, *names):
    return tuple(span.attributes.get(f"costscope.{name}") for name in names)


class Stream:
    """As an SDK's: an iterator, sync or async, with a connection behind it."""

    def __init__(self, items=WHOLE, error=None):
        self.items, self.error = iter(items), error

    def __iter__(self):
        return self

    def __next__(self):
        for item in self.items:
            return item
        if self.error is not None:
            raise self.error
        raise StopIteration

    def close(self):
        pass


class AsyncStream:
    def __init__(self, items=WHOLE, error=None):
        self.inner = Stream(items, error)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self.inner)
        except StopIteration:
            raise StopAsyncIteration from None

    async def close(self):
        pass

    aclose = close


def stream_of(colour, *given):
    return (Stream if colour.name == "sync" else AsyncStream)(*given)


def read(colour, make, steps=None, between=lambda: None):
    """Read a stream or generator, whole or so many steps; then close it."""

    def sync():
        stream = make()
        for number, _ in enumerate(stream, 1):
            between()
            if number == steps:
                break
        stream.close()

    async def asynchronous():
        stream = make()
        if hasattr(stream, "__await__"):
            stream = await stream
        number = 0
        async for _ in stream:
            number += 1
            between()
            if number == steps:
                break
        await (stream.aclose() if hasattr(stream, "aclose") else stream.close())

    return sync() if colour.name == "sync" else colour.run(asynchronous)


# ------------------------------------------------------------------------------ functions


def test_a_call_is_one_span_with_what_it_came_to(runtime, traced, colour):
    @metered_model("m", price=PRICE, runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=5):
        inside.append(traced.inner())
        return ANSWER

    inside = []
    with traced.around(), budget_scope(tenant="acme", run="r-1", runtime=runtime):
        colour.run(ask, "hello")
    span = traced.only("model m")
    assert span.status.status_code is StatusCode.UNSET
    assert said(span, "kind", "name", "outcome", "cost", "currency") == (
        "model",
        "m",
        "ok",
        COST / 1e9,
        "USD",
    )
    assert said(span, "input_tokens", "output_tokens", "budget_count") == (10, 5, 2)
    assert said(span, "label.tenant", "label.run") == ("acme", "r-1")
    assert span.attributes["costscope.held"] > span.attributes["costscope.cost"]
    assert span.attributes["costscope.hold_id"]
    [request] = traced.ended("request")
    assert request.parent.span_id == span.context.span_id
    assert inside == [request.context.span_id]
    assert not [name for name in span.attributes if name.startswith("gen_ai.")]


def test_calls_inside_calls_are_spans_inside_spans(runtime, traced, colour):
    tool = metered_tool("search", price="0.01", runtime=runtime)(lambda: None)

    @metered_model("m", price=PRICE, runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=5):
        tool()
        again(prompt)
        return ANSWER

    again = metered_model("m", price=PRICE, runtime=runtime)(lambda prompt, max_tokens=5: ANSWER)
    with traced.around(), budget_scope(runtime=runtime):
        colour.run(ask, "x")
    span = traced.only("model m")  # the inner one of the same kind is covered by it
    [inner] = traced.ended("tool search")
    assert inner.parent.span_id == span.context.span_id


@pytest.mark.parametrize(
    ("error", "cost"), [(ValueError("secret"), 0.01), (NotBilled("secret"), 0.0), (KeyboardInterrupt(), 0.01)]
)
def test_a_call_that_failed_says_so_and_what_it_cost(error, cost, runtime, books, traced, colour):
    @metered_tool("t", price="0.01", runtime=runtime)
    @colour.define
    def tool():
        traced.inner()
        raise error

    async def awaited():
        await tool()

    def call():
        if colour.name == "sync":
            return tool()
        with asyncio.Runner() as runner:  # an interrupt ends its loop
            return runner.run(awaited())

    with traced.around(), budget_scope(runtime=runtime), pytest.raises(type(error)):
        call()
    span = traced.only("tool t")
    assert said(span, "outcome", "cost", "held") == ("error", cost, 0.01)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"].endswith(type(error).__name__)
    assert "secret" not in span.to_json()
    books.settle()


def test_a_call_that_was_cancelled_is_one_span(runtime, books, traced):
    @metered_tool("t", price="0.01", runtime=runtime)
    async def hang():
        begun.set()
        await asyncio.Event().wait()

    async def main():
        nonlocal begun
        begun = asyncio.Event()
        task = asyncio.create_task(hang())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert trace.get_current_span() is outer

    begun = None
    with traced.around() as outer, budget_scope(runtime=runtime):
        asyncio.run(main())
    span = traced.only("tool t")
    assert said(span, "outcome", "cost") == ("error", 0.01)
    assert span.attributes["error.type"].endswith("CancelledError")
    books.settle()


def test_calls_side_by_side_have_each_their_own(runtime, traced):
    @metered_tool("t", price="0.01", runtime=runtime)
    async def tool(number):
        await asyncio.sleep(0)
        with traced.tracer.start_as_current_span(f"request-{number}"):
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(tool(number) for number in range(10)))

    with traced.around(), budget_scope(runtime=runtime):
        asyncio.run(main())
    spans = {span.context.span_id for span in traced.ended("tool t")}
    assert len(spans) == 10
    parents = [traced.ended(f"request-{number}")[0].parent.span_id for number in range(10)]
    assert set(parents) == spans


def test_a_coroutine_that_a_plain_function_returns_is_a_part_of_its_call(runtime, traced):
    async def request():
        traced.inner()
        return ANSWER

    ask = metered_model("m", price=PRICE, runtime=runtime)(lambda prompt, max_tokens=5: request())

    async def main():
        coroutine = ask("x")
        assert traced.ended("model m") == []
        await coroutine
        assert trace.get_current_span() is outer

    with traced.around() as outer, budget_scope(runtime=runtime):
        asyncio.run(main())
    span = traced.only("model m")
    assert said(span, "outcome", "cost") == ("ok", COST / 1e9)
    [inner] = traced.ended("request")
    assert inner.parent.span_id == span.context.span_id


def test_a_coroutine_that_is_never_awaited_ends_its_span(runtime, books, traced):
    async def request():
        """Never."""

    ask = metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)(
        lambda prompt, max_tokens=5: request()
    )
    with traced.around(), budget_scope(runtime=runtime), warnings.catch_warnings(action="ignore"):
        ask("x")
        gc.collect()
    assert said(traced.only("model m"), "cost") == (0.05,)
    books.settle()


# ------------------------------------------------------------------------------ generators and streams


@pytest.mark.parametrize("steps", [None, 1])
def test_a_generator_is_one_span_that_is_current_only_while_its_body_runs(
    steps, runtime, books, traced, colour
):
    @metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=5):
        for item in WHOLE:
            traced.inner()
            yield item

    def outside():
        assert trace.get_current_span() is outer

    with traced.around() as outer, budget_scope(runtime=runtime):
        read(colour, lambda: ask("x"), steps, outside)
    span = traced.only("model m")
    cost = COST / 1e9 if steps is None else 0.05
    assert said(span, "cost", "held", "outcome") == (cost, 0.05, "ok")
    requests = traced.ended("request")
    assert len(requests) == (3 if steps is None else 1)
    assert {one.parent.span_id for one in requests} == {span.context.span_id}
    books.settle()


def test_a_generator_that_nobody_reads_has_no_span_and_one_that_is_dropped_ends_it(
    runtime, books, traced, colour
):
    @metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=5):
        yield from WHOLE

    with traced.around(), budget_scope(runtime=runtime):
        unread = ask("x")
        del unread
        gc.collect()
        assert traced.ended("model m") == []
        if colour.name == "sync":
            dropped = ask("x")
            next(dropped)
            del dropped
        else:

            async def begin():
                dropped = ask("x")
                await anext(dropped)
                await dropped.aclose()

            colour.run(begin)
        gc.collect()
    assert said(traced.only("model m"), "cost") == (0.05,)
    books.settle()


def test_a_generator_that_fails_is_one_span(runtime, books, traced, colour):
    @metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=5):
        yield CHUNK
        raise ValueError("broken")

    with traced.around(), budget_scope(runtime=runtime), pytest.raises(ValueError, match="broken"):
        read(colour, lambda: ask("x"))
    assert said(traced.only("model m"), "outcome", "cost") == ("error", 0.05)
    books.settle()


@pytest.mark.parametrize(
    ("items", "error", "steps", "outcome", "cost"),
    [
        (WHOLE, None, None, "ok", COST / 1e9),
        (WHOLE, None, 1, "ok", 0.05),  # left early: charged in full
        ([CHUNK], ValueError(), None, "error", 0.05),
        ([CHUNK], NotBilled(), None, "error", 0.0),
    ],
)
def test_a_stream_of_an_sdk_ends_its_span_when_it_ends(
    items, error, steps, outcome, cost, runtime, books, traced, colour
):
    @metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=5):
        traced.inner()
        return stream_of(colour, items, error)

    def between():
        assert traced.ended("model m") == [], "the call goes on as long as its stream"
        assert trace.get_current_span() is outer

    with traced.around() as outer, budget_scope(runtime=runtime), suppress(ValueError, NotBilled):
        read(colour, lambda: ask("x"), steps, between if steps is not None else lambda: None)
    span = traced.only("model m")
    assert said(span, "outcome", "cost") == (outcome, cost)
    if outcome == "ok" and steps is None:
        assert said(span, "input_tokens", "output_tokens") == (10, 5)
    [request] = traced.ended("request")
    assert request.parent.span_id == span.context.span_id
    books.settle()


def test_a_stream_that_is_dropped_ends_its_span(runtime, books, traced):
    ask = metered_model("m", price=PRICE, estimate="0.05", runtime=runtime)(
        lambda prompt, max_tokens=5: Stream()
    )
    with traced.around(), budget_scope(runtime=runtime):
        stream = ask("x")
        next(stream)
        del stream
        gc.collect()
    assert said(traced.only("model m"), "cost") == (0.05,)
    books.settle()


# ------------------------------------------------------------------------------ reserve


def reserved(colour, runtime, body, **given):
    """A reservation in either colour."""
    given = {"tool": "t", "price": "0.10", "runtime": runtime} | given

    async def asynchronous():
        async with costscope.reserve(**given) as hold:
            body(hold)

    if colour.name == "async":
        return colour.run(asynchronous)
    with costscope.reserve(**given) as hold:
        return body(hold)


def test_what_happens_in_a_reserved_block_is_a_part_of_its_span(runtime, books, traced, colour):
    def body(hold):
        traced.inner()
        hold.commit("0.04")

    with traced.around(), budget_scope(runtime=runtime):
        reserved(colour, runtime, body)
    span = traced.only("tool t")
    assert said(span, "outcome", "cost", "held") == ("ok", 0.04, 0.10)
    [request] = traced.ended("request")
    assert request.parent.span_id == span.context.span_id
    books.settle()


def test_a_reserved_model_call_has_its_tokens(runtime, traced, colour):
    with traced.around(), budget_scope(runtime=runtime):
        reserved(
            colour,
            runtime,
            lambda hold: hold.commit((10, 5)),
            tool=None,
            model="m",
            price=PRICE,
            input_tokens=10,
            max_output_tokens=5,
        )
    assert said(traced.only("model m"), "input_tokens", "output_tokens", "cost") == (10, 5, COST / 1e9)


@pytest.mark.parametrize("how", ["left", "released", "failed", "unbilled"])
def test_a_reserved_block_ends_its_span_however_it_is_left(how, runtime, books, traced, colour):
    def body(hold):
        if how == "released":
            hold.release()
        if how == "failed":
            raise ValueError
        if how == "unbilled":
            raise NotBilled

    with traced.around(), budget_scope(runtime=runtime), suppress(ValueError, NotBilled):
        reserved(colour, runtime, body)
    span = traced.only("tool t")
    assert (
        said(span, "outcome", "cost")
        == {
            "left": ("ok", 0.10),
            "released": ("ok", 0.0),
            "failed": ("error", 0.10),
            "unbilled": ("error", 0.0),
        }[how]
    )
    books.settle()


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("how", ["function", "generator", "reserve", "return"])
def test_a_refused_call_is_one_span_that_says_why(how, runtime, traced, colour):
    refused = {"price": "2.00", "runtime": runtime}
    options = refused | ({"on_denied": Return("instead")} if how == "return" else {})

    @metered_tool("t", **options)
    @colour.define
    def tool():
        pytest.fail("it must not run")

    @metered_tool("t", **refused)
    @colour.define
    def generate():
        yield pytest.fail("nor this")

    def attempt():
        if how in {"function", "return"}:
            return colour.run(tool)
        if how == "generator":
            return read(colour, generate)
        return reserved(colour, runtime, lambda hold: pytest.fail("nor that"), price="2.00")

    with traced.around(), budget_scope(runtime=runtime):
        if how == "return":
            assert attempt() == "instead"
        else:
            with pytest.raises(BudgetExceeded):
                attempt()
    span = traced.only("tool t")
    assert said(span, "outcome", "denial.kind", "denial.budget", "denial.meter") == (
        "denied",
        "never_fits",
        "all",
        "cost",
    )
    assert span.status.status_code is StatusCode.ERROR
    assert "limit" in span.status.description
    assert said(span, "cost") == (None,)


@pytest.mark.parametrize("how", ["function", "reserve"])
@pytest.mark.parametrize("kind", ["unpriced", "unscoped"])
def test_a_refusal_before_there_is_a_call_is_one_span_too(how, kind, runtime, traced, colour):
    price = {} if kind == "unpriced" else {"price": PRICE}

    @metered_model("nobody-knows", runtime=runtime, **price)
    @colour.define
    def ask(prompt, max_tokens=5):
        pytest.fail("it must not run")

    def attempt():
        if how == "function":
            return colour.run(ask, "x")
        given = {
            "tool": None,
            "model": "nobody-knows",
            "input_tokens": 1,
            "max_output_tokens": 1,
            "price": None,
        }
        return reserved(colour, runtime, lambda hold: pytest.fail("nor this"), **(given | price))

    with traced.around():
        if kind == "unscoped":
            with pytest.raises(CallUnscoped):
                attempt()
        else:
            with budget_scope(tenant="acme", runtime=runtime), pytest.raises(ModelUnpriced):
                attempt()
    span = traced.only("model nobody-knows")
    assert said(span, "outcome", "denial.kind") == ("denied", kind)
    assert said(span, "label.tenant") == ("acme" if kind == "unpriced" else None,)


def test_a_call_that_waits_and_gives_up_is_one_span(runtime, traced, colour):
    tool = metered_tool("t", price="0.60", on_denied=Wait("0.05s"), runtime=runtime)(
        colour.define(lambda: None)
    )
    other = costscope.reserve(tool="other", price="0.60", runtime=runtime)
    with traced.around(), budget_scope(runtime=runtime), other, pytest.raises(BudgetExceeded):
        colour.run(tool)
    [span] = traced.ended("tool t")
    assert said(span, "outcome", "denial.kind") == ("denied", "in_flight")
    assert span.parent.span_id == traced.only("tool other").context.span_id


def test_a_call_that_is_cancelled_while_it_waits_is_one_span(runtime, books, traced):
    @metered_tool("t", price="0.60", on_denied=Wait("30s"), runtime=runtime)
    async def tool():
        pytest.fail("it must not run")

    async def main():
        async with costscope.reserve(tool="other", price="0.60", runtime=runtime):
            task = asyncio.create_task(tool())
            while not services_of(runtime).wait_list and not task.done():
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with traced.around(), budget_scope(runtime=runtime):
        asyncio.run(main())
    [span] = traced.ended("tool t")
    assert said(span, "outcome", "cost") == ("error", 0.0)
    books.settle()


def test_a_store_that_is_away_refuses_with_a_span_or_lets_through_with_one(
    make_runtime, make_store, traced, colour
):
    for on_outage, outcome in (("closed", "denied"), ("open", "ok")):
        outage = OutageStore(make_store())
        budget = {"id": "all", "limits": {"cost": "1"}, "on_outage": on_outage}
        runtime = make_runtime(store=outage, policy={"budgets": [budget]}, tracing=traced.provider)
        tool = metered_tool(on_outage, price="0.01", runtime=runtime)(colour.define(lambda: None))
        with traced.around(), budget_scope(runtime=runtime), outage.away(), suppress(StoreUnavailable):
            colour.run(tool)
        [span] = traced.ended(f"tool {on_outage}")
        assert said(span, "outcome") == (outcome,)
        assert said(span, "denial.kind") == ("unavailable" if outcome == "denied" else None,)


def test_a_key_that_was_used_for_another_call_ends_the_span(runtime, traced, colour):
    def call(price):
        tool = metered_tool("t", price=price, idempotency_key="job", runtime=runtime)(
            colour.define(lambda job: None)
        )
        colour.run(tool, "one")

    with traced.around(), budget_scope(runtime=runtime):
        call("0.01")
        if runtime.store.waits:  # memory forgets what is settled
            with pytest.raises(HoldMismatch):
                call("0.02")
            assert [said(span, "outcome") for span in traced.ended("tool t")] == [("ok",), ("error",)]
        else:
            assert len(traced.ended("tool t")) == 1


# ------------------------------------------------------------------------------ routes


PRICES = {"models": {"big": {"input": 1, "output": 4}, "small": {"input": 0.1, "output": 0.4}}}


@pytest.mark.parametrize("gen_ai", [False, True])
def test_a_call_that_went_to_a_fallback_is_named_after_it_and_says_what_was_asked(
    gen_ai, make_runtime, traced, colour
):
    runtime = make_runtime(
        policy={
            "budgets": [{"id": "b", "limits": {"cost": "0.0005"}, "on_limit": "downgrade_then_reject"}],
            "routing": [{"id": "r", "stages": [{"model": "big", "fallbacks": ["small"]}]}],
            "prices": PRICES,
        },
        tracing=traced.provider,
        gen_ai_attributes=gen_ai,
    )

    @metered_model("big", runtime=runtime)
    @colour.define
    def ask(prompt, model="big", max_tokens=5):
        return ANSWER | {"model": model}

    with traced.around(), budget_scope(runtime=runtime):
        assert colour.run(ask, "x" * 10)["model"] == "small"
    span = traced.only("chat small" if gen_ai else "model small")
    assert said(span, "name", "asked", "outcome") == ("small", "big", "ok")
    assert span.attributes["costscope.cost"] == (10 * 100 + 5 * 400) / 1e9
    assert span.attributes.get("gen_ai.request.model") == ("small" if gen_ai else None)


def test_gen_ai_attributes_are_written_where_they_are_asked_for(make_runtime, traced, colour):
    runtime = make_runtime(tracing=traced.provider, gen_ai_attributes=True)

    @metered_model("gpt-4o-mini", runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=5):
        return ANSWER | {"model": "gpt-4o-mini-2024-07-18"}

    with traced.around(), budget_scope(runtime=runtime):
        colour.run(ask, "x")
    span = traced.only("chat gpt-4o-mini")
    assert {name: value for name, value in span.attributes.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }


# ------------------------------------------------------------------------------ off


def test_without_tracing_nothing_is_traced_and_no_context_is_touched(
    make_runtime, traced, colour, monkeypatch
):
    runtime = make_runtime()
    assert services_of(runtime).spans is None
    monkeypatch.setattr(
        "opentelemetry.context.attach", lambda context: pytest.fail("nobody asked for a span")
    )
    ask = metered_model("m", price=PRICE, runtime=runtime)(colour.define(lambda prompt, max_tokens=5: ANSWER))
    with budget_scope(runtime=runtime):
        colour.run(ask, "x")
        reserved(colour, runtime, lambda hold: None)
        with pytest.raises(ModelUnpriced):
            costscope.reserve(model="nobody-knows", input_tokens=1, runtime=runtime)
    assert traced.exporter.get_finished_spans() == ()


def test_without_an_sdk_calls_go_on_as_always(make_runtime, colour):
    runtime = make_runtime(tracing=True)  # the global provider, which is nobody's here
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: "done"))
    with budget_scope(runtime=runtime):
        assert colour.run(tool) == "done"
        reserved(colour, runtime, lambda hold: hold.commit("0.01"))
        with pytest.raises(ModelUnpriced):
            costscope.reserve(model="nobody-knows", input_tokens=1, runtime=runtime)
