"""What a scope tells OpenTelemetry when it is left, through the real SDK."""

from __future__ import annotations

import asyncio
import gc

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from costscope import BudgetExceeded, NotBilled, Usage, budget_scope, metered_model, metered_tool


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def runtime(make_runtime, reader):
    provider = MeterProvider(metric_readers=[reader])
    runtime = make_runtime(meter_provider=provider)
    yield runtime
    runtime.close()
    provider.shutdown()


@pytest.fixture
def measured(reader):
    """A metric's values so far: `{(attribute, ...): value}` for the attributes asked for."""

    def values(name, *attributes):
        data = reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else []:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name != name:
                        continue
                    for point in metric.data.data_points:
                        key = tuple(point.attributes.get(attribute) for attribute in attributes)
                        value = point.value if hasattr(point, "value") else point.sum
                        found[key] = found.get(key, 0) + value
        return found

    return values


@pytest.fixture
def tool(runtime):
    return metered_tool("t", price="0.01", runtime=runtime)(lambda: None)


def test_nothing_is_recorded_before_the_scope_is_left(runtime, tool, measured):
    with budget_scope(runtime=runtime):
        tool()
        assert measured("costscope.cost") == {}
    assert measured("costscope.cost") == {(): pytest.approx(0.01)}


def test_a_call_is_counted_in_one_scope_and_no_other(runtime, tool, measured):
    with budget_scope(runtime=runtime, tenant="acme"):
        tool()
        with budget_scope(runtime=runtime, workflow="w"):
            tool()
            with budget_scope(runtime=runtime, run="r"):
                tool()
    assert measured("costscope.calls", "tenant", "workflow") == {("acme", None): 1, ("acme", "w"): 2}
    assert measured("costscope.cost") == {(): pytest.approx(0.03)}
    scopes = measured("costscope.scope.cost", "scope")
    assert sum(scopes.values()) == pytest.approx(0.01 + 0.02 + 0.03), (
        "the histogram: what each whole scope cost"
    )


def test_calls_by_kind_name_and_outcome_and_tokens_by_type(runtime, measured):
    ask = metered_model("m", price={"input": "1", "output": "2"}, runtime=runtime)

    @ask
    def answer(text, max_tokens=9):
        return Usage(10, 5, cache_read_tokens=4)

    @metered_tool("t", price="0.01", runtime=runtime)
    def fail():
        raise ValueError

    with budget_scope(runtime=runtime):
        answer("hi")
        with pytest.raises(ValueError):
            fail()
    assert measured("costscope.calls", "kind", "name", "outcome") == {
        ("model", "m", "ok"): 1,
        ("tool", "t", "error"): 1,
    }
    tokens = measured("costscope.tokens", "type")
    assert (tokens["input",], tokens["output",], tokens["cache_read",]) == (10, 5, 4)


def test_denials_and_settlements_are_counted(runtime, tool, measured):
    released = metered_tool("r", price="0.01", runtime=runtime)

    @released
    def unbilled():
        raise NotBilled

    with budget_scope(runtime=runtime, max_tool_calls=2):
        with pytest.raises(NotBilled):
            unbilled()
        tool()
        tool()
        for _ in range(3):
            with pytest.raises(BudgetExceeded):
                tool()
    assert measured("costscope.denials", "kind", "budget", "meter") == {
        ("exhausted", "~scope", "tool_calls"): 3
    }
    assert measured("costscope.reservations", "outcome") == {("committed",): 2, ("released",): 1}


def test_an_overrun_is_recorded(runtime, measured):
    tool = metered_tool("t", price="0.01", usage=lambda _: "0.03", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime):
        tool()
    assert measured("costscope.overruns") == {(): pytest.approx(0.02)}


def test_a_stream_that_outlives_its_scope_is_still_counted(runtime, measured):
    @metered_model("m", price="0.01", runtime=runtime)
    def stream(text, max_tokens=9):
        yield Usage(1, 1)
        yield "x"

    with budget_scope(runtime=runtime):
        items = stream("hi")
        next(items)
    assert measured("costscope.calls") == {}
    list(items)
    assert measured("costscope.calls") == {(): 1}
    assert measured("costscope.cost") == {(): pytest.approx(0.01)}


def test_calls_outside_every_scope_are_recorded_when_the_runtime_closes(make_runtime, measured, reader):
    provider = MeterProvider(metric_readers=[reader])
    runtime = make_runtime(meter_provider=provider, unscoped="allow")
    metered_tool("t", price="0.01", runtime=runtime)(lambda: None)()
    assert measured("costscope.calls") == {}
    runtime.close()
    assert measured("costscope.calls") == {(): 1}
    provider.shutdown()


def test_run_ids_never_become_attributes(runtime, tool, reader):
    with budget_scope(runtime=runtime, tenant="acme", run="r-123", user="u-9"):
        tool()
    text = reader.get_metrics_data().to_json()
    assert "acme" in text
    assert "r-123" not in text
    assert "u-9" not in text


def test_many_tasks_lose_no_count(runtime, measured, books):
    @metered_tool("t", price="0.01", runtime=runtime)
    async def tool():
        await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(tool() for _ in range(300)))
        await runtime.store.aclose()

    with budget_scope(runtime=runtime):
        asyncio.run(main())
    gc.collect()
    assert measured("costscope.calls") == {(): 300}
    assert measured("costscope.reservations", "outcome") == {("committed",): 300}
    assert measured("costscope.cost")[()] == pytest.approx(books.spent() / 10**9)
