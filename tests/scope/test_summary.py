"""`scope.summary()`: what a scope and those nested in it came to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from costscope import BudgetExceeded, ScopedExecutor, budget_scope, metered_model, metered_tool
from costscope.scope.scope import state_of

PRICES = {"models": {"big": {"input": "10", "output": "40"}, "wee": {"input": "1", "output": "4"}}}


@pytest.fixture
def policy():
    return {
        "prices": PRICES,
        "runaway": {},
        "budgets": [
            {"id": "tenant", "per": ["tenant"], "limits": {"cost": "1000"}},
            {"id": "few", "match": {"agent": "b"}, "limits": {"tool_calls": 2}},
        ],
    }


def answer(model, messages, *, max_tokens=100):
    return {
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 40},
        }
    }


@pytest.fixture
def ask(runtime, colour):
    return metered_model(runtime=runtime)(colour.define(answer))


@pytest.fixture
def tool(runtime, colour):
    def body(fails=False):
        if fails:
            raise ValueError("no")

    return metered_tool("t", price="0.01", runtime=runtime)(colour.define(body))


def test_money_tokens_and_calls_by_model_tool_and_label(runtime, colour, ask, tool):
    with budget_scope(runtime=runtime, tenant="acme", run="r-1", max_cost="5.00") as run:
        for turn in run.iterations():
            with budget_scope(runtime=runtime, agent="a"):
                colour.run(ask, "big", [{"role": "user", "content": "x"}])
                colour.run(tool)
            with budget_scope(runtime=runtime, agent="b"):
                colour.run(ask, "wee", [{"role": "user", "content": "x"}])
                with pytest.raises(ValueError, match="no"):
                    colour.run(tool, fails=True)
            if turn == 2:
                break
        with budget_scope(runtime=runtime, agent="b") as agent, pytest.raises(BudgetExceeded):
            colour.run(tool)
        assert agent.summary().denials == {"exhausted": 1}
        run.refresh()
        found = run.summary()
    big, wee = Decimal("0.0014"), Decimal("0.00014")
    assert found.run == "r-1"
    assert found.status is None
    assert found.labels == {"tenant": "acme", "run": "r-1"}
    assert found.by_model["big"].calls == 2
    assert found.by_model["big"].cost == 2 * big
    assert found.by_model["wee"].tokens == {
        "input": 200, "output": 20, "cache_read": 80, "cache_write": 0, "reasoning": 0,
    }  # fmt: skip
    assert found.by_tool["t"].calls == 4
    assert found.by_tool["t"].errors == 2
    assert found.by_tool["t"].cost == Decimal("0.04")
    spent = 2 * big + 2 * wee + Decimal("0.04")
    assert found.spent == spent
    assert found.held == 0
    assert found.limit == Decimal("5.00")
    assert found.remaining == Decimal(5) - spent
    assert found.by_label["agent"] == {"a": 2 * big + Decimal("0.02"), "b": 2 * wee + Decimal("0.02")}
    assert found.by_label["tenant"] == {"acme": spent}
    assert found.calls == 8
    assert found.iterations == 2
    assert found.denials == {"exhausted": 1}
    assert found.tokens["output"] == 40
    assert found.burn_rate > 0
    assert run.summary().status == "completed"
    assert run.summary().calls == 8


def test_a_downgraded_call_and_what_it_saved_are_counted(make_runtime, colour, policy):
    routing = [{"id": "cheap", "stages": [{"model": "wee"}]}]
    runtime = make_runtime(policy={**policy, "routing": routing})
    ask = metered_model(runtime=runtime)(colour.define(answer))
    held = []
    with budget_scope(
        runtime=runtime, tenant="acme", on_settled=lambda call: held.append(call.held)
    ) as scope:
        with budget_scope(runtime=runtime, agent="a"):
            colour.run(ask, "big", "xxxx", max_tokens=100)
        found = scope.summary()
    assert list(found.by_model) == ["wee"]
    assert found.downgrades == 1
    assert found.saved == 9 * Decimal(held[0]) / 10**9, (
        "every token of the other model costs ten times as much"
    )


def test_a_call_in_flight_is_held_and_counted_when_it_ends(runtime):
    running, go_on = threading.Event(), threading.Event()

    @metered_tool("slow", price="0.50", runtime=runtime)
    def slow():
        running.set()
        assert go_on.wait(60)

    with budget_scope(runtime=runtime, tenant="acme") as scope, ScopedExecutor(1) as pool:
        done = pool.submit(slow)
        assert running.wait(60)
        before = scope.summary()
        go_on.set()
        done.result(60)
        after = scope.summary()
    assert (before.held, before.spent, before.calls) == (Decimal("0.50"), 0, 0)
    assert (after.held, after.spent, after.calls) == (0, Decimal("0.50"), 1)
    assert before.limit is None


def test_an_open_scope_inside_counts_once_before_and_after_it_is_left(runtime, tool, colour):
    with budget_scope(runtime=runtime, tenant="acme") as outer:
        with budget_scope(runtime=runtime, agent="a"), budget_scope(runtime=runtime, user="u"):
            colour.run(tool)
            assert outer.summary().calls == 1
        assert outer.summary().calls == 1
        assert outer.summary().by_label["user"] == {"u": Decimal("0.01")}
    assert outer.summary().calls == 1


def test_thousands_of_scopes_inside_are_all_counted_by_any_number_of_threads(runtime):
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)

    def work(_):
        for _ in range(50):
            with budget_scope(runtime=runtime, agent="a"):
                tool()

    with budget_scope(runtime=runtime, tenant="acme") as outer:
        with ScopedExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert outer.summary().by_tool["t"].calls == 400
        assert outer.summary().by_label["agent"]["a"] == Decimal("4.00")


def test_the_values_of_a_label_that_are_kept_apart_are_bounded(runtime):
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    with budget_scope(runtime=runtime, tenant="acme") as outer:
        for number in range(1030):
            with budget_scope(runtime=runtime, user=f"u{number}"):
                tool()
    users = outer.summary().by_label["user"]
    assert len(users) <= 1025
    assert sum(users.values()) == Decimal("10.30")


def test_a_stream_that_outlives_its_scope_is_counted_where_it_began(runtime):
    @metered_model("wee", runtime=runtime)
    def stream(prompt, *, max_tokens=10):
        yield {"choices": []}
        yield {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    with (
        budget_scope(runtime=runtime, tenant="acme") as outer,
        budget_scope(runtime=runtime, agent="a") as inner,
    ):
        open_stream = stream("x")
        next(open_stream)
    assert inner.summary().calls == 0
    for _ in open_stream:
        pass
    assert inner.summary().calls == outer.summary().calls == 1
    assert outer.summary().by_label["agent"] == {"a": Decimal("0.00003")}


def test_looking_takes_nothing_away_from_the_metrics(runtime, tool, colour):
    with budget_scope(runtime=runtime, tenant="acme") as scope:
        colour.run(tool)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: scope.summary(), range(20)))
        assert state_of(scope).totals.take().calls["tool", "t", "ok"].calls == 1
