"""Spans around metered calls, as the SDK records them."""

import asyncio
import contextvars

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

from costscope.errors import BudgetExceeded, InvalidLabel, StoreUnavailable
from costscope.observe.telemetry.spans import Spans
from costscope.pricing.usage.usage_fields import Usage

LABELS = {"tenant": "acme", "workflow": "report", "run": "r-1", "user": "u-1"}
USAGE = Usage(100, 20, 30, 10, 0, 5, model="gpt-4o-2024-08-06")


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def spans(provider):
    return Spans(provider, allowed_labels=("tenant", "workflow"))


@pytest.fixture
def finished(exporter):
    """The finished spans by name."""
    return lambda: {span.name: span for span in exporter.get_finished_spans()}


def current():
    return trace.get_current_span().get_span_context().span_id


def exceeded():
    return BudgetExceeded(
        "tenant-day: cost: 1.00 of 1.00 are spent",
        kind="exhausted",
        budget="tenant-day",
        labels={},
        meter="cost",
        limit=1,
        spent=1,
        held=0,
        requested=1,
        resets_at=None,
        retry_after=None,
    )


def test_a_call_is_a_span_with_what_it_cost_and_what_was_held(spans, finished):
    handle = spans.start("model", "gpt-4o", LABELS)
    spans.end(
        handle,
        cost_nano=1_500_000,
        held_nano=9_000_000,
        budgets=3,
        hold_id="h",
        usage=USAGE,
        max_tokens=300,
        asked="gpt-5",
        degraded=True,
    )
    span = finished()["model gpt-4o"]
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "costscope.kind": "model",
        "costscope.name": "gpt-4o",
        "costscope.label.tenant": "acme",
        "costscope.label.workflow": "report",
        "costscope.label.run": "r-1",
        "costscope.outcome": "ok",
        "costscope.cost": 0.0015,
        "costscope.held": 0.009,
        "costscope.currency": "USD",
        "costscope.budget_count": 3,
        "costscope.hold_id": "h",
        "costscope.asked": "gpt-5",
        "costscope.degraded": True,
        "costscope.input_tokens": 100,
        "costscope.output_tokens": 20,
    }


def test_a_tool_is_an_internal_span_and_says_no_more_than_it_knows(provider, finished):
    spans = Spans(provider, currency="EUR")
    spans.end(spans.start("tool", "search", {"tenant": "acme"}))
    span = finished()["tool search"]
    assert span.kind is SpanKind.INTERNAL
    assert dict(span.attributes) == {
        "costscope.kind": "tool",
        "costscope.name": "search",
        "costscope.outcome": "ok",
        "costscope.cost": 0.0,
        "costscope.held": 0.0,
        "costscope.currency": "EUR",
        "costscope.budget_count": 0,
    }


def test_gen_ai_attributes_are_off_by_default(spans, exporter):
    spans.end(spans.start("model", "m", LABELS, provider="openai"), usage=USAGE, max_tokens=5)
    (span,) = exporter.get_finished_spans()
    assert not [name for name in span.attributes if name.startswith("gen_ai.")]


def test_gen_ai_attributes_follow_the_conventions_when_asked_for(provider, finished):
    spans = Spans(provider, gen_ai=True)
    spans.end(spans.start("model", "gpt-4o", LABELS, provider="openai"), usage=USAGE, max_tokens=300)
    span = finished()["chat gpt-4o"]
    assert {name: value for name, value in span.attributes.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.max_tokens": 300,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.cache_write.input_tokens": 10,
        "gen_ai.usage.reasoning.output_tokens": 5,
    }


@pytest.mark.parametrize(
    ("kind", "options", "name", "expected"),
    [
        ("model", {"provider": "google"}, "generate_content m", {"gen_ai.provider.name": "gcp.gen_ai"}),
        ("model", {"provider": "aws"}, "chat m", {"gen_ai.provider.name": "aws.bedrock"}),
        ("model", {"provider": "openai", "has_output": False}, "embeddings m", {"gen_ai.request.model": "m"}),
        ("model", {}, "chat m", {"gen_ai.request.model": "m", "gen_ai.provider.name": None}),
        ("tool", {}, "execute_tool m", {"gen_ai.tool.name": "m", "gen_ai.request.model": None}),
    ],
)
def test_gen_ai_operations_and_providers(kind, options, name, expected, provider, finished):
    spans = Spans(provider, gen_ai=True)
    spans.end(spans.start(kind, "m", {}, **options))
    span = finished()[name]
    assert {key: span.attributes.get(key) for key in expected} == expected


def test_a_failed_call_says_what_was_raised_and_not_its_text(spans, finished):
    class Overloaded(Exception):
        pass

    handle = spans.start("model", "m", {})
    spans.end(handle, outcome="error", error=Overloaded("the prompt was: secret"))
    span = finished()["model m"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "Overloaded"
    assert span.attributes["error.type"].endswith("Overloaded")
    assert span.attributes["costscope.outcome"] == "error"
    assert "secret" not in span.to_json()


def test_a_refused_call_says_why(spans, finished):
    spans.refuse(spans.start("model", "m", {}), exceeded())
    span = finished()["model m"]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, str(exceeded()))
    found = {name: value for name, value in span.attributes.items() if "denial" in name or "outcome" in name}
    assert found == {
        "costscope.outcome": "denied",
        "costscope.denial.kind": "exhausted",
        "costscope.denial.budget": "tenant-day",
        "costscope.denial.meter": "cost",
    }
    assert span.attributes["error.type"] == "costscope.BudgetExceeded"


def test_a_refusal_without_a_budget_says_its_kind(spans, finished):
    spans.refuse(spans.start("tool", "t", {}), StoreUnavailable("away"))
    span = finished()["tool t"]
    assert span.attributes["costscope.denial.kind"] == "unavailable"
    assert "costscope.denial.budget" not in span.attributes


def test_a_span_ends_once(spans, exporter, caplog):
    handle = spans.start("model", "m", {})
    spans.end(handle)
    spans.end(handle, outcome="error")
    spans.refuse(handle, exceeded())
    (span,) = exporter.get_finished_spans()
    assert span.attributes["costscope.outcome"] == "ok"
    assert caplog.records == []


def test_what_the_function_does_is_a_child_and_what_follows_is_not(spans, provider, finished):
    tracer = provider.get_tracer("user")
    with tracer.start_as_current_span("outer"):
        outside = current()
        handle = spans.start("model", "m", {})
        assert current() == outside, "a span that waits for its reservation is not the current one"
        handle.enter()
        with tracer.start_as_current_span("request"):
            pass
        handle.leave()
        assert current() == outside
        spans.end(handle)
    found = finished()
    assert found["model m"].parent.span_id == outside
    assert found["request"].parent.span_id == found["model m"].context.span_id


def test_a_generator_is_inside_its_span_only_while_it_runs(spans, provider, finished):
    """Step by step, with a span of the body's own open across a yield, which must not leak to whoever iterates."""
    tracer = provider.get_tracer("user")

    def body():
        with tracer.start_as_current_span("body"):
            yield current()
            with tracer.start_as_current_span("later"):
                yield current()

    handle, outside, items = spans.start("model", "m", {}), current(), body()
    seen = []
    for _ in range(2):
        handle.enter()
        seen.append(next(items))
        handle.leave()
        assert current() == outside
    handle.enter()
    assert next(items, None) is None
    handle.leave()
    spans.end(handle)
    found = finished()
    assert found["body"].parent.span_id == found["model m"].context.span_id
    assert found["later"].parent.span_id == found["body"].context.span_id
    assert seen == [found["body"].context.span_id, found["later"].context.span_id]


def test_a_call_may_be_left_in_another_context_than_it_was_entered(spans, caplog):
    """As a generator closed by the garbage collector: a token could not be given back here, and would be an error."""
    handle, before = spans.start("model", "m", {}), current()
    contextvars.copy_context().run(handle.enter)
    handle.leave()
    assert current() == before
    spans.end(handle)
    assert caplog.records == []


def test_tasks_side_by_side_have_spans_of_their_own(spans, provider, finished):
    tracer = provider.get_tracer("user")

    async def call(number):
        handle = spans.start("model", f"m-{number}", {})
        handle.enter()
        await asyncio.sleep(0)
        with tracer.start_as_current_span(f"request-{number}"):
            await asyncio.sleep(0)
        handle.leave()
        spans.end(handle)

    async def main():
        await asyncio.gather(*(call(number) for number in range(5)))

    asyncio.run(main())
    found = finished()
    for number in range(5):
        assert found[f"request-{number}"].parent.span_id == found[f"model m-{number}"].context.span_id


def test_without_an_sdk_there_is_nothing_to_end():
    assert Spans(NoOpTracerProvider()).start("model", "m", {}) is None


def test_a_span_that_is_not_sampled_still_keeps_its_children_from_being(exporter):
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = Spans(provider)
    handle = spans.start("model", "m", {})
    handle.enter()
    assert not trace.get_current_span().get_span_context().trace_flags.sampled
    handle.leave()
    spans.end(handle, outcome="error", error=ValueError())
    assert exporter.get_finished_spans() == ()
    provider.shutdown()


def test_labels_are_checked():
    with pytest.raises(InvalidLabel):
        Spans(allowed_labels="tenant")
