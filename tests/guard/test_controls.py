"""Policies that act: routes, thresholds, caps, soft and shadow budgets, pacing, halts. All of them in decisions."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest

from costscope import RunHalted

CENT = 10_000_000
ROUTE = {"id": "default", "stages": [{"fallbacks": ["small"]}]}


def budget(*thresholds, **rest):
    return {"id": "tenant", "per": ["tenant"], "limits": {"cost": "1"}, "thresholds": list(thresholds)} | rest


def kinds(decision):
    return [warning.kind for warning in decision.warnings]


def spend(hooks, cents, run_id="r"):
    """Have a tool cost this much."""
    assert hooks.before_tool_call(run_id, "spend", price=str(Decimal(cents) / 100)).allowed
    return hooks.after_tool_call(run_id)


@pytest.fixture
def started(guarded):
    def start(*budgets, **rest):
        hooks = guarded(*budgets, **rest)
        assert hooks.on_run_start("r", tenant="acme").allowed
        return hooks

    return start


def test_a_passed_threshold_sends_calls_to_the_fallback_and_says_why(started):
    crossing = {"at": 50, "actions": ["log", "downgrade_model"], "message": "the cheaper model from here"}
    hooks = started(budget(crossing), routing=[ROUTE])
    before = hooks.before_model_call("r", "big", messages="Hi", max_tokens=100)
    assert (before.effective_model, before.action, before.saved) == ("big", "allow", None)
    hooks.after_model_call("r", (1, 1))
    assert kinds(spend(hooks, 60)) == ["threshold"]
    decision = hooks.before_model_call("r", "big", messages="Hi", max_tokens=100)
    assert (decision.model, decision.effective_model) == ("big", "small")
    assert decision.request["model"] == "small"
    assert (decision.was_downgraded, decision.action) == (True, "downgrade")
    assert decision.reason == "soft_threshold_exceeded"
    assert kinds(decision) == ["downgraded", "threshold"], "a downgrade hides no warning"
    assert decision.warnings[1].message.endswith("are spent or held; the cheaper model from here")
    assert decision.saved == before.held["cost"] - decision.held["cost"] > 0
    assert hooks.after_model_call("r", (10, 5)).charged["cost"] == 10 * 1_000 + 5 * 2_000
    summary = hooks.on_run_end("r").summary
    assert (summary.downgrades, sorted(summary.by_model)) == (1, ["big", "small"])
    hooks.books.settle()


def test_a_call_that_costs_more_than_it_held_acts_on_the_very_next_one(started):
    hooks = started(budget({"at": 50, "actions": ["downgrade_model"]}), routing=[ROUTE])
    assert hooks.before_tool_call("r", "spend", price="0.10").warnings == ()
    assert kinds(hooks.after_tool_call("r", "0.60")) == ["threshold"]
    decision = hooks.before_model_call("r", "big", messages="Hi", max_tokens=100)
    assert decision.effective_model == "small"
    hooks.on_run_end("r")
    hooks.books.settle()


def test_a_route_decides_by_stage_and_caps_the_output(started):
    stages = [{"stage": "planning", "model": "small", "max_tokens": 200}, {"max_tokens": 1000}]
    hooks = started(budget(), routing=[{"id": "by-stage", "stages": stages}])
    planning = hooks.before_model_call("r", "big", messages="Hi", max_tokens=500, stage="planning")
    assert (planning.effective_model, planning.max_tokens) == ("small", 200)
    assert planning.held["output_tokens"] == 200
    assert kinds(planning) == ["downgraded", "capped"]
    other = hooks.before_model_call("r", "big", messages="Hi", max_tokens=5000)
    assert (other.effective_model, other.max_tokens, other.action) == ("big", 1000, "limit")
    own = hooks.before_model_call("r", "big", messages="Hi", max_tokens=50)
    assert (own.max_tokens, own.action) == (50, "allow")
    hooks.on_run_end("r")
    hooks.books.settle()


def test_capabilities_are_limited_for_calls_and_iterations(started):
    limited = {"do": "limit_capabilities", "max_tokens": 0.5, "iterations": 0.5}
    hooks = started(budget({"at": 50, "actions": [limited]}, constraints={"iterations": 4}))
    hooks.before_iteration("r")
    hooks.after_iteration("r")
    assert hooks.before_model_call("r", "big", messages="Hi", max_tokens=1000).max_tokens == 1000
    hooks.after_model_call("r", (1, 1))
    spend(hooks, 60)
    decision = hooks.before_model_call("r", "big", messages="Hi", max_tokens=1000)
    assert (decision.max_tokens, decision.request["max_tokens"]) == (500, 500)
    assert decision.held["output_tokens"] == 500
    assert kinds(decision) == ["capped", "threshold"]
    hooks.after_model_call("r", (1, 1))
    assert hooks.before_iteration("r").allowed
    refused = hooks.before_iteration("r")
    assert (refused.allowed, refused.meter) == (False, "iterations")
    assert "limit_capabilities" in refused.reason
    hooks.on_run_end("r")
    hooks.books.settle()


def test_a_refused_call_goes_on_to_a_cheaper_model_where_the_budget_wants_that(started):
    hooks = started(budget(on_limit="downgrade_then_reject", limits={"cost": "0.02"}), routing=[ROUTE])
    decision = hooks.before_model_call("r", "big", input_tokens=1000, max_tokens=1000)
    assert (decision.allowed, decision.effective_model) == (True, "small")
    assert decision.held["cost"] < 2 * CENT
    refused = hooks.before_model_call("r", "big", input_tokens=20_000, max_tokens=1000)
    assert (refused.allowed, refused.kind) == (False, "never_fits")
    hooks.on_run_end("r")
    hooks.books.settle()


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_a_budget_that_lets_through_warns(enforcement, started):
    hooks = started(budget(enforcement=enforcement))
    assert spend(hooks, 100).warnings == ()
    decision = hooks.before_tool_call("r", "more", price="0.50")
    assert decision.allowed
    assert kinds(decision) == ["degraded" if enforcement == "soft" else "shadow"]
    assert decision.warnings[0].budget == "tenant"
    assert decision.remaining_cost is None, "it refuses nothing"
    assert decision.utilisation == pytest.approx(1.5)
    hooks.on_run_end("r")
    hooks.books.settle()


def test_a_threshold_that_halts_runs_ends_the_run(started):
    hooks = started(budget({"at": 50, "actions": ["halt_run"]}))
    spend(hooks, 60)
    refused = hooks.before_tool_call("r", "more")
    assert (refused.allowed, refused.kind, refused.action) == (False, "halted", "halt")
    assert not hooks.before_iteration("r").allowed
    with pytest.raises(RunHalted):
        refused.raise_if_denied()
    summary = hooks.on_run_end("r", "completed")
    assert (summary.status, summary.allowed) == ("halted", False), "whatever the framework says"
    assert "50 %" in summary.reason
    hooks.books.settle()


def test_a_hard_limit_that_halts_the_run(started):
    hooks = started(budget(on_limit="halt_run"))
    refused = hooks.before_tool_call("r", "dear", price="2")
    assert (refused.allowed, refused.kind) == (False, "never_fits")
    assert hooks.before_tool_call("r", "cheap").kind == "halted"
    assert hooks.on_run_end("r").status == "halted"
    hooks.books.settle()


def test_a_threshold_that_halts_new_runs_lets_those_that_run_go_on(started):
    hooks = started(budget({"at": 50, "actions": ["halt_new_runs"]}))
    spend(hooks, 60)
    refused = hooks.on_run_start("r-2", tenant="acme")
    assert (refused.allowed, refused.budget) == (False, "tenant")
    assert "no new runs" in refused.reason
    assert hooks.on_run_start("other", tenant="other").allowed
    assert hooks.before_tool_call("r", "more", price="0.01").allowed
    hooks.close()
    hooks.books.settle()


def test_a_runaway_is_halted_and_the_call_that_shows_it_says_so(started):
    hooks = started(budget(), runaway={"failures": 3})
    for _ in range(2):
        hooks.before_tool_call("r", "search", price="0.01", arguments={"query": object()})
        assert hooks.after_tool_call("r", error=TimeoutError()).allowed
    hooks.before_tool_call("r", "search", price="0.01")
    settled = hooks.after_tool_call("r", error=TimeoutError())
    assert (settled.allowed, settled.kind, settled.action) == (False, "halted", "halt")
    assert settled.cost == Decimal("0.01"), "what was spent is settled all the same"
    assert "3 calls failed" in settled.reason
    assert not hooks.before_model_call("r", "big", messages="Hi", max_tokens=1).allowed
    hooks.on_run_end("r")
    hooks.books.settle()


def test_the_same_call_again_and_again_is_a_runaway(started):
    hooks = started(budget(), runaway={"repeats": 4})
    settled = []
    for number in range(8):
        hooks.before_tool_call("r", "search", arguments={"query": f"page {number}"})
        settled.append(hooks.after_tool_call("r").allowed)
    assert all(settled), "other arguments are other calls"
    for _ in range(4):
        hooks.before_tool_call("r", "search", arguments={"query": "the same"})
        settled.append(hooks.after_tool_call("r").allowed)
    assert settled[-2:] == [True, False]
    hooks.on_run_end("r")
    hooks.books.settle()


def test_a_run_that_is_halted_by_hand_answers_so(started):
    hooks = started(budget(constraints={"tool_calls": 9}))
    hooks.guard.scope("r").halt("an operator said so")
    refused = hooks.before_tool_call("r", "search")
    assert (refused.kind, refused.action) == ("halted", "halt")
    assert "an operator said so" in refused.reason
    summary = hooks.on_run_end("r")
    assert (summary.status, summary.reason) == ("halted", "an operator said so")
    hooks.books.settle()


def test_a_run_ends_at_its_wall_clock(started):
    hooks = started(budget())
    hooks.on_run_start("short", tenant="acme", max_wall_clock=0.05)
    deadline = time.monotonic() + 30
    while (decision := hooks.before_tool_call("short", "search")).allowed:
        hooks.after_tool_call("short")
        assert time.monotonic() < deadline
    assert (decision.kind, decision.action) == ("halted", "halt")
    assert "max_wall_clock" in decision.reason
    assert hooks.on_run_end("short").status == "halted"
    hooks.close()
    hooks.books.settle()


def test_a_refused_call_may_wait_for_those_in_flight(started, colour):
    """The hook waits until another run's call settles; it is not polled by the framework."""
    hooks = started(budget(on_denied={"wait": "30s"}))
    hooks.on_run_start("other", tenant="acme")
    hooks.before_tool_call("other", "long", price="0.90")
    timer = threading.Timer(0.1, hooks.guard.after_tool_call, ("other", "0.10"))
    timer.start()
    decision = hooks.before_tool_call("r", "search", price="0.50")
    timer.join()
    assert decision.allowed
    hooks.close()
    assert hooks.books.spent(budget="tenant") == 60 * CENT
    hooks.books.settle()


def test_what_a_refused_call_is_to_answer_instead(started):
    hooks = started(budget(on_denied={"return": "no budget left"}))
    decision = hooks.before_tool_call("r", "search", price="2")
    assert (decision.allowed, decision.instead) == (False, "no budget left")
    hooks.on_run_end("r")
    hooks.books.settle()


def test_listeners_of_a_run_are_told(started):
    hooks = started(budget(50, 80))
    told = []
    hooks.on_run_start(
        "told",
        tenant="acme",
        on_threshold=lambda event: told.append(("threshold", event.threshold)),
        on_denied=lambda event: told.append(("denied", event.what)),
        on_settled=lambda event: told.append(("settled", event.cost)),
    )
    hooks.before_tool_call("told", "search", price="0.60")
    hooks.after_tool_call("told")
    hooks.before_tool_call("told", "search", price="0.60")
    hooks.close()
    assert told == [("threshold", 50.0), ("settled", 60 * CENT), ("denied", "tool")]
    hooks.books.settle()
