"""A limit on every meter stops exactly at its amount."""

from __future__ import annotations

import contextlib
import contextvars
import time

import pytest

from costscope import BudgetExceeded, budget_scope, metered_model, reserve
from costscope.policy.checks.budget_checks import LIMITS

LIMIT = 3


@pytest.fixture
def limited(make_runtime):
    """A runtime with one limit."""
    return lambda meter, amount=LIMIT: make_runtime(
        policy={
            "budgets": [{"id": "b", "match": {"tenant": "t"}, "period": "daily", "limits": {meter: amount}}]
        }
    )


class Acts:
    """What uses one unit of a meter."""

    def __init__(self, runtime, colour):
        self._runtime, self._colour = runtime, colour
        self._runs = 0

    def scope(self, **labels):
        return budget_scope(tenant="t", **labels, runtime=self._runtime)

    def _tool(self, price=0):
        with self.scope(), reserve(tool="t", price=price, runtime=self._runtime):
            pass

    def _model(self, tokens_in, tokens_out):
        usage = {"usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}}
        body = self._colour.define(lambda max_tokens=tokens_out: usage)
        most = {"input_tokens": tokens_in, "output_tokens": tokens_out, "tokens": tokens_in + tokens_out}
        ask = metered_model(
            "m", price=0, estimate=most | {"cost": 0, "model_calls": 1}, runtime=self._runtime
        )(body)
        with self.scope():
            self._colour.run(ask)

    def cost(self):
        self._tool("1")

    def tool_calls(self):
        self._tool()

    def model_calls(self):
        self._model(0, 0)

    def input_tokens(self):
        self._model(1, 7)

    def output_tokens(self):
        self._model(7, 1)

    def tokens(self):
        self._model(1, 0)

    def runs(self):
        self._runs += 1
        with self.scope(run=f"r{self._runs}"):
            pass

    def iterations(self):
        self._runs += 1
        with self.scope(run=f"r{self._runs}") as run, run.iteration():
            pass


@pytest.mark.parametrize("meter", [name for name in LIMITS if hasattr(Acts, name)])
def test_what_is_used_up(limited, colour, meter):
    runtime = limited(meter)
    act = getattr(Acts(runtime, colour), meter)
    for _ in range(LIMIT):
        act()
    with pytest.raises(BudgetExceeded) as caught:
        act()
    unit = 10**9 if meter == "cost" else 1
    denied = caught.value
    assert (denied.budget, denied.meter, denied.kind) == ("b", meter, "exhausted")
    assert (denied.limit, denied.spent) == (LIMIT * unit, LIMIT * unit)
    with budget_scope(tenant="other", runtime=runtime), reserve(tool="t", price="1", runtime=runtime):
        pass


def test_calls_at_the_same_time(limited):
    runtime = limited("concurrent_calls")
    with budget_scope(tenant="t", runtime=runtime):
        with contextlib.ExitStack() as calls:
            for _ in range(LIMIT):
                calls.enter_context(reserve(tool="t", runtime=runtime))
            with pytest.raises(BudgetExceeded) as caught, reserve(tool="t", runtime=runtime):
                pass
            assert (caught.value.meter, caught.value.kind) == ("concurrent_calls", "in_flight")
        with reserve(tool="t", runtime=runtime):
            pass


def test_runs_at_the_same_time(limited):
    runtime = limited("concurrent_runs")
    contexts = [contextvars.Context() for _ in range(LIMIT)]
    scopes = [budget_scope(tenant="t", run=f"r{at}", runtime=runtime) for at in range(LIMIT)]
    for context, scope in zip(contexts, scopes, strict=True):
        context.run(scope.__enter__)
    with pytest.raises(BudgetExceeded) as caught:
        contextvars.Context().run(budget_scope(tenant="t", run="late", runtime=runtime).__enter__)
    assert (caught.value.meter, caught.value.kind) == ("concurrent_runs", "in_flight")
    contexts[0].run(scopes[0].__exit__, None, None, None)
    late = budget_scope(tenant="t", run="late", runtime=runtime)
    context = contextvars.Context()
    context.run(late.__enter__)
    context.run(late.__exit__, None, None, None)
    for context, scope in zip(contexts[1:], scopes[1:], strict=True):
        context.run(scope.__exit__, None, None, None)


def test_time_since_the_first_call_of_the_window(limited):
    runtime = limited("wall_clock", "100ms")
    deadline, refused = time.monotonic() + 30, None
    with budget_scope(tenant="t", runtime=runtime):
        while refused is None and time.monotonic() < deadline:
            try:
                with reserve(tool="t", runtime=runtime):
                    time.sleep(0.005)
            except BudgetExceeded as error:
                refused = error
    assert (refused.budget, refused.meter) == ("b", "wall_clock")
    with budget_scope(tenant="other", runtime=runtime), reserve(tool="t", runtime=runtime):
        pass


def test_every_limit_there_is_has_a_test_here():
    assert {*vars(Acts)} >= {*LIMITS} - {"concurrent_calls", "concurrent_runs", "wall_clock"}
