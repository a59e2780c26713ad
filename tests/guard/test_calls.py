"""What a call is settled with, and which call is meant."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest

from costscope import BudgetExceeded, ModelUnpriced, NotBilled, Usage

CENT = 10_000_000
ALL = {"id": "all", "limits": {"cost": "1", "tokens": 10**6, "model_calls": 100, "tool_calls": 100}}


@pytest.fixture
def hooks(guarded):
    hooks = guarded(ALL)
    hooks.on_run_start("r", tenant="acme")
    yield hooks
    hooks.on_run_end("r")
    hooks.books.settle()


@pytest.mark.parametrize(
    "usage",
    [
        Usage(10, 5),
        (10, 5),
        {"prompt_tokens": 10, "completion_tokens": 5},
        {"model": "big", "usage": {"input_tokens": 10, "output_tokens": 5}},
        SimpleNamespace(usage=SimpleNamespace(prompt_tokens=10, completion_tokens=5)),
    ],
    ids=["Usage", "pair", "usage", "response as a dict", "response of an SDK"],
)
def test_usage_in_every_form_is_what_is_charged(usage, hooks):
    hooks.before_model_call("r", "big", messages=[{"role": "user", "content": "Hi"}], max_tokens=300)
    settled = hooks.after_model_call("r", usage)
    assert settled.charged["cost"] == 10 * 10_000 + 5 * 20_000
    assert (hooks.books.spent(), hooks.books.spent("tokens")) == (200_000, 15)
    assert settled.warnings == ()


def test_without_usage_the_hold_is_charged(hooks):
    decision = hooks.before_model_call("r", "big", input_tokens=100, max_tokens=50)
    assert decision.held["input_tokens"] > 100
    settled = hooks.after_model_call("r")
    assert settled.charged == decision.held
    assert hooks.books.spent() == decision.held["cost"]


def test_usage_that_cannot_be_believed_charges_the_hold_and_says_so(hooks):
    decision = hooks.before_model_call("r", "big", estimate="0.05")
    with pytest.warns(match="the estimate is charged"):
        settled = hooks.after_model_call("r", {"prompt_tokens": -3, "completion_tokens": 5})
    assert settled.charged["cost"] == decision.held["cost"] == 5 * CENT
    assert [warning.kind for warning in settled.warnings] == ["usage"]


@pytest.mark.parametrize(
    ("error", "cents"),
    [(NotBilled(), 0), (ConnectionRefusedError(), 0), (TimeoutError(), 5), ("it broke", 5)],
    ids=["not billed", "refused", "timeout", "text"],
)
def test_a_failure_is_charged_unless_it_was_provably_not_billed(error, cents, hooks):
    decision = hooks.before_model_call("r", "big", estimate="0.05")
    settled = hooks.after_model_call("r", error=error)
    assert (settled.call_id, settled.charged.get("cost", 0)) == (decision.call_id, cents * CENT)
    assert hooks.books.spent() == cents * CENT
    assert hooks.guard.scope("r").summary().by_model.get("big") is None or cents


def test_a_failure_whose_usage_is_known_costs_that(hooks):
    hooks.before_model_call("r", "big", estimate="0.05")
    settled = hooks.after_model_call("r", (10, 5), error=TimeoutError())
    assert settled.charged["cost"] == 200_000
    assert hooks.guard.scope("r").summary().by_model["big"].errors == 1


def test_calls_side_by_side_are_told_apart_by_their_ids(hooks):
    """Frameworks open and close them in any order."""
    decisions = [hooks.before_model_call("r", "big", estimate="0.01") for _ in range(5)]
    tool = hooks.before_tool_call("r", "search", price="0.01")
    assert len({decision.call_id for decision in decisions} | {tool.call_id}) == 6
    assert hooks.after_tool_call("r").call_id == tool.call_id, "the only tool call there is"
    for spent, decision in enumerate(decisions[::2] + decisions[1::2], start=1):
        settled = hooks.after_model_call("r", (spent, 0), call_id=decision.call_id)
        assert (settled.call_id, settled.charged["input_tokens"]) == (decision.call_id, spent)
    assert hooks.books.spent() == CENT + 15 * 10_000


def test_a_call_may_have_the_id_of_the_framework(hooks):
    assert hooks.before_tool_call("r", "search", call_id="toolu_1").call_id == "toolu_1"
    assert hooks.before_tool_call("r", "search", call_id="toolu_2").call_id == "toolu_2"
    assert hooks.after_tool_call("r", call_id="toolu_1").call_id == "toolu_1"
    hooks.after_tool_call("r")
    assert hooks.before_tool_call("r", "search", call_id="toolu_1").allowed, "it is free again"
    hooks.after_tool_call("r")


def test_another_model_that_answered_is_charged_at_its_own_price(hooks):
    hooks.before_model_call("r", "small", messages="Hi", max_tokens=10)
    settled = hooks.after_model_call("r", (10, 5), model="big")
    assert settled.charged["cost"] == 200_000
    assert hooks.guard.scope("r").summary().by_model["big"].calls == 1


def test_another_model_without_a_price_is_charged_the_hold(hooks):
    decision = hooks.before_model_call("r", "big", estimate="0.05")
    settled = hooks.after_model_call("r", (10, 5), model="nobody-knows")
    assert settled.charged["cost"] == decision.held["cost"]
    assert [warning.kind for warning in settled.warnings] == ["usage"]


def test_a_tool_costs_what_is_reported_else_its_price(hooks):
    hooks.before_tool_call("r", "search", price="0.05", arguments={"query": "x"})
    assert hooks.after_tool_call("r", "0.02").cost == Decimal("0.02")
    hooks.before_tool_call("r", "search", estimate="0.05")
    assert hooks.after_tool_call("r", 0.07).cost == Decimal("0.07"), "a commit is a fact, also above the hold"
    hooks.before_tool_call("r", "search", price="0.05")
    assert hooks.after_tool_call("r", error=NotBilled()).charged == {}
    assert (hooks.books.spent(), hooks.books.spent("tool_calls")) == (9 * CENT, 2)


def test_the_request_is_what_is_to_be_passed_on(hooks):
    tools = [{"type": "function", "function": {"name": "look"}}]
    decision = hooks.before_model_call(
        "r", "big", messages=[{"role": "user", "content": "Hi"}], request={"tools": tools, "n": 2}
    )
    assert decision.request == {
        "model": "big",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": tools,
        "n": 2,
        "max_tokens": decision.max_tokens,
    }
    assert decision.max_tokens == 4096, "a call without a cap gets one"
    assert decision.held["output_tokens"] == 2 * 4096, "for each of its answers"
    hooks.after_model_call("r", (10, 5))


def test_a_capped_call_gets_the_output_that_is_left(guarded):
    hooks = guarded({"id": "all", "limits": {"tokens": 2000}})
    hooks.on_run_start("r")
    decision = hooks.before_model_call("r", "big", messages="Hi", max_tokens=8000, estimate="capped")
    assert decision.allowed
    assert decision.max_tokens == decision.request["max_tokens"] < 2000
    assert decision.remaining == {"tokens": 0}
    assert decision.action == "limit"
    assert [warning.kind for warning in decision.warnings] == ["capped"]
    hooks.after_model_call("r", (10, decision.max_tokens))
    hooks.on_run_end("r")
    hooks.books.settle()


def test_a_refused_call_is_a_decision_that_can_be_raised(hooks):
    decision = hooks.before_model_call("r", "big", estimate="1.50")
    assert (decision.allowed, decision.kind, decision.budget, decision.meter) == (
        False,
        "never_fits",
        "all",
        "cost",
    )
    assert "never_fits" in decision.reason
    assert decision.held == {}
    assert decision.action == "reject"
    with pytest.raises(BudgetExceeded, match="never_fits"):
        decision.raise_if_denied()
    assert hooks.before_tool_call("r", "search").allowed, "the run goes on"
    assert hooks.after_tool_call("r").raise_if_denied() is None


def test_a_model_without_a_price_is_refused(hooks):
    decision = hooks.before_model_call("r", "nobody-knows", messages="Hi", max_tokens=1)
    assert (decision.allowed, decision.kind) == (False, "unpriced")
    with pytest.raises(ModelUnpriced):
        decision.raise_if_denied()


def test_a_key_makes_a_redelivered_call_cost_once(hooks):
    for _ in range(2):
        hooks.before_tool_call("r", "search", price="0.05", idempotency_key="job-1")
        hooks.after_tool_call("r")
    assert hooks.books.spent() == 5 * CENT


def test_an_exhausted_budget_says_when_it_begins_anew(guarded):
    hooks = guarded({"id": "day", "period": "daily", "limits": {"tool_calls": 1}})
    hooks.on_run_start("r")
    hooks.before_tool_call("r", "search")
    hooks.after_tool_call("r")
    refused = hooks.before_tool_call("r", "search")
    assert (refused.kind, refused.meter, refused.remaining_tool_calls) == ("exhausted", "tool_calls", 0)
    assert refused.resets_at is not None
    assert refused.resets_at > hooks.runtime.now()
    hooks.on_run_end("r")
    hooks.books.settle()
