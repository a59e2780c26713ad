"""Runs: admission, iterations, the end, and what is left open."""

from __future__ import annotations

from decimal import Decimal

import pytest
from monitoring import Monitor

from costscope import Guard, Runtime, Usage
from costscope.errors import InvalidInput
from costscope_valkey.codec import source_of
from costscope_valkey.link import Script

CENT = 10_000_000
TENANT = {"id": "tenant", "per": ["tenant"], "limits": {"cost": "1"}}


def test_a_run_from_its_start_to_its_end(guarded):
    hooks = guarded(TENANT | {"constraints": {"iterations": 5, "tool_calls": 3}})
    admission = hooks.on_run_start("r-1", tenant="acme", metadata={"ticket": 7})
    assert (admission.allowed, admission.reason, admission.kind) == (True, "", None)
    assert admission.remaining_cost == Decimal(1)
    assert hooks.guard.runs() == ("r-1",)
    for turn in (1, 2):
        begun = hooks.before_iteration("r-1")
        assert (begun.allowed, begun.iteration, begun.remaining_iterations) == (True, turn, 5 - turn)
        model = hooks.before_model_call("r-1", "big", messages="Hello", max_tokens=100)
        assert (model.allowed, model.effective_model, model.max_tokens) == (True, "big", 100)
        assert model.held["output_tokens"] == 100
        settled = hooks.after_model_call("r-1", Usage(10, 5))
        assert (settled.allowed, settled.call_id) == (True, model.call_id)
        assert settled.charged["cost"] == 10 * 10_000 + 5 * 20_000
        tool = hooks.before_tool_call("r-1", "search", price="0.01")
        assert (tool.allowed, tool.remaining_tool_calls) == (True, 3 - turn)
        assert hooks.after_tool_call("r-1").cost == Decimal("0.01")
        assert hooks.after_iteration("r-1").allowed
    summary = hooks.on_run_end("r-1", "completed")
    assert (summary.status, summary.allowed, summary.unsettled) == ("completed", True, 0)
    assert summary.metadata == {"ticket": 7}
    assert summary.cost == Decimal("0.0204")
    assert summary.summary.iterations == 2
    assert summary.summary.by_model["big"].tokens["output"] == 10
    assert summary.summary.by_tool["search"].calls == 2
    assert hooks.guard.runs() == ()
    assert hooks.books.spent(budget="tenant") == 2 * (200_000 + CENT)
    assert hooks.books.spent("iterations", "~run") == 2
    hooks.books.settle()


def test_a_place_is_given_at_the_start_and_given_back_at_the_end(guarded):
    hooks = guarded({"id": "slots", "limits": {"concurrent_runs": 2, "runs": 4}})
    assert hooks.on_run_start("a").allowed
    assert hooks.on_run_start("b").allowed
    refused = hooks.on_run_start("c")
    assert (refused.allowed, refused.kind, refused.budget) == (False, "in_flight", "slots")
    assert refused.retry_after is not None
    assert refused.action == "reject"
    hooks.on_run_end("a")
    assert hooks.on_run_start("c").allowed
    hooks.on_run_end("b")
    hooks.on_run_end("c")
    assert hooks.on_run_start("d").allowed
    hooks.on_run_end("d")
    late = hooks.on_run_start("e")
    assert (late.allowed, late.kind, late.meter) == (False, "exhausted", "runs")
    assert hooks.guard.runs() == (), "nothing is remembered of a run that was refused"
    hooks.books.settle()


def test_iterations_end_at_the_limit_whether_or_not_the_framework_tells_of_their_end(guarded):
    hooks = guarded(TENANT | {"constraints": {"iterations": 3}})
    hooks.on_run_start("r", tenant="acme")
    left = [hooks.before_iteration("r").remaining_iterations for _ in range(3)]
    assert left == [2, 1, 0]
    refused = hooks.before_iteration("r")
    assert (refused.allowed, refused.kind, refused.meter, refused.iteration) == (
        False,
        "exhausted",
        "iterations",
        0,
    )
    assert refused.retry_after is None, "waiting gives no further turn"
    hooks.after_iteration("r", 2)
    hooks.on_run_end("r")
    assert hooks.books.spent("iterations", "~run") == 3
    hooks.books.settle()


@pytest.mark.parametrize(
    ("ending", "status", "reason"),
    [
        ({}, "completed", ""),
        ({"status": "completed"}, "completed", ""),
        ({"status": "failed", "reason": "no answer"}, "failed", "no answer"),
        ({"error": TimeoutError()}, "failed", "TimeoutError"),
        ({"status": "cancelled"}, "failed", "cancelled"),
        ({"status": "halted", "reason": "by hand"}, "halted", "by hand"),
    ],
)
def test_the_status_of_a_run_is_told_to_whoever_listens(ending, status, reason, guarded):
    hooks = guarded(TENANT)
    ended = []
    hooks.runtime.events.on("run_ended", ended.append)
    hooks.on_run_start("r", tenant="acme")
    summary = hooks.on_run_end("r", **ending)
    assert (summary.status, summary.reason, summary.allowed) == (status, reason, status != "halted")
    assert [(event.status, event.reason, event.run) for event in ended] == [(status, reason, "r")]
    hooks.books.settle()


def test_what_is_open_at_the_end_is_charged(guarded):
    hooks = guarded(TENANT | {"constraints": {"iterations": 9}})
    hooks.on_run_start("r", tenant="acme")
    hooks.before_iteration("r")
    hooks.before_model_call("r", "big", estimate="0.05")
    hooks.before_tool_call("r", "search", price="0.02")
    assert len(hooks.books.snapshot().holds) >= 3
    summary = hooks.on_run_end("r", "failed")
    assert (summary.unsettled, summary.cost) == (2, Decimal("0.07"))
    assert hooks.books.spent(budget="tenant") == 7 * CENT
    hooks.books.settle()


def test_a_closed_guard_ends_every_run_as_failed(guarded, colour):
    hooks = guarded({"id": "slots", "limits": {"concurrent_runs": 5}})
    ended = []
    hooks.runtime.events.on("run_ended", ended.append)
    for run_id in ("a", "b"):
        hooks.on_run_start(run_id)
    hooks.before_tool_call("a", "search", price="0.02")
    hooks.close()
    assert hooks.guard.runs() == ()
    assert sorted((event.run, event.status) for event in ended) == [("a", "failed"), ("b", "failed")]
    hooks.books.settle()


def test_the_limits_of_the_run_itself_are_those_of_a_scope(guarded):
    hooks = guarded(TENANT)
    hooks.on_run_start("r", tenant="acme", max_cost="0.03", max_tool_calls=2)
    decision = hooks.before_tool_call("r", "search", price="0.02")
    assert decision.remaining == {"cost": CENT, "tool_calls": 1}
    refused = hooks.before_tool_call("r", "search", price="0.02")
    assert (refused.allowed, refused.kind, refused.budget, refused.meter) == (
        False,
        "in_flight",
        "~scope",
        "cost",
    )
    hooks.after_tool_call("r")
    hooks.on_run_end("r")
    hooks.books.settle()


def test_labels_may_be_named_as_other_systems_do(guarded):
    hooks = guarded(TENANT)
    hooks.on_run_start("r", tenant_id="acme", strand_id="s", workflow_id="w", user_id="u", goal_id="g")
    labels = hooks.guard.scope("r").labels
    assert labels == {
        "tenant": "acme",
        "strand": "s",
        "workflow": "w",
        "user": "u",
        "goal_id": "g",
        "run": "r",
    }
    assert hooks.on_run_end("r").summary.labels == labels


@pytest.mark.parametrize("empty", ["", None])
def test_a_label_without_a_value_is_absent(guarded, empty):
    """An event bus hands on every field, also one that it has no value for; the other name of a label may have it."""
    hooks = guarded(TENANT)
    hooks.on_run_start("r", tenant="acme", tenant_id=empty, agent_id=empty, goal_id=empty, max_cost=None)
    assert hooks.guard.scope("r").labels == {"tenant": "acme", "run": "r"}
    assert hooks.before_tool_call("r", "search", price="0.01").remaining_cost == Decimal("0.99")
    hooks.after_tool_call("r")
    assert hooks.on_run_end("r").summary.labels == {"tenant": "acme", "run": "r"}
    assert hooks.books.spent(budget="tenant") == CENT
    hooks.books.settle()


@pytest.mark.parametrize("option", [{"max_cost": ""}, {"max_costs": None}, {"run": None}])
def test_an_option_without_a_value_is_not_left_out_like_a_label(guarded, option):
    hooks = guarded(TENANT)
    with pytest.raises(InvalidInput):
        hooks.on_run_start("r", tenant="acme", **option)
    assert hooks.guard.runs() == ()


def test_a_run_that_no_budget_covers_has_its_cost_all_the_same(guarded):
    hooks = guarded({"id": "other", "match": {"tenant": "other"}, "limits": {"cost": "1"}})
    hooks.on_run_start("r", tenant="acme")
    decision = hooks.before_model_call("r", "big", messages="Hello", max_tokens=100)
    assert (decision.allowed, decision.remaining, decision.remaining_cost) == (True, {}, None)
    assert hooks.after_model_call("r", (10, 5)).cost == Decimal("0.0002")
    assert hooks.on_run_end("r").cost == Decimal("0.0002")
    assert hooks.books.accounts() == set()


def test_a_fresh_process_sees_at_the_start_what_was_spent_elsewhere(guarded, store_kind, make_runtime):
    """Not as its first call goes wrong: what a run is told at admission is read from the books."""
    hooks = guarded(TENANT | {"thresholds": [50]})
    hooks.on_run_start("r-1", tenant="acme")
    hooks.before_tool_call("r-1", "search", price="0.60")
    hooks.after_tool_call("r-1")
    hooks.on_run_end("r-1")
    other = hooks
    if store_kind == "valkey":
        other = guarded(TENANT | {"thresholds": [50]})
    admission = other.on_run_start("r-2", tenant="acme")
    assert admission.remaining_cost == Decimal("0.40")
    assert admission.utilisation == pytest.approx(0.6)
    [warning] = admission.warnings
    assert (warning.kind, warning.budget, warning.threshold) == ("threshold", "tenant", 50.0)
    other.on_run_end("r-2")
    other.books.settle()


@pytest.mark.parametrize("joins", [False, True], ids=["admitted", "joined"])
def test_a_run_starts_with_one_request_and_ends_with_one(joins, valkey_server, patient_url):
    """Counted by the server; what the admission tells of the budgets comes with it."""
    ledger = Script(source_of("ledger")).sha
    policy = {"budgets": [TENANT]}
    with (
        Runtime(store=patient_url, policy=policy) as runtime,
        Guard(runtime) as first,
        Guard(runtime) as guard,
    ):
        first.on_run_start("r-1", tenant="acme")
        first.before_tool_call("r-1", "search", price="0.60")
        first.after_tool_call("r-1")
        with Monitor(valkey_server, patient_url) as monitor:
            started = guard.on_run_start("r-1" if joins else "r-2", tenant="acme", join_run=joins)
            starting = monitor.commands()
            guard.close()
            ending = monitor.commands()
    assert started.remaining_cost == Decimal("0.40")
    assert [sum(ledger in words for words in requests) for requests in (starting, ending)] == [
        1,
        0 if joins else 1,
    ]
