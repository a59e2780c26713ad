"""Hooks out of order, and arguments that cannot be used: typed errors that say the remedy, and nothing is held."""

from __future__ import annotations

import pytest

from costscope import CallUnknown, Guard, GuardError, HookRepeated, InvalidInput, InvalidLabel, RunUnknown
from costscope.scope.default_runtime import default_in_block

ALL = {"id": "all", "limits": {"cost": "1", "iterations": 9}}


@pytest.fixture
def hooks(guarded):
    hooks = guarded(ALL)
    hooks.on_run_start("r", tenant="acme")
    yield hooks
    hooks.close()
    hooks.books.settle()


@pytest.mark.parametrize(
    "hook",
    [
        ("before_iteration",),
        ("after_iteration",),
        ("before_model_call", "big"),
        ("after_model_call",),
        ("before_tool_call", "search"),
        ("after_tool_call",),
        ("on_run_end",),
    ],
    ids=lambda hook: hook[0],
)
def test_a_hook_for_a_run_that_is_not_open(hook, hooks):
    name, *arguments = hook
    with pytest.raises(RunUnknown, match=r"'nobody' is not open .* Call on_run_start first"):
        getattr(hooks, name)("nobody", *arguments)
    hooks.on_run_start("over")
    hooks.on_run_end("over")
    with pytest.raises(RunUnknown, match="has ended"):
        getattr(hooks, name)("over", *arguments)


def test_a_hook_for_a_run_that_was_refused(guarded):
    hooks = guarded({"id": "none", "limits": {"runs": 0}})
    assert not hooks.on_run_start("r").allowed
    with pytest.raises(RunUnknown, match="was refused"):
        hooks.before_tool_call("r", "search")


def test_a_run_is_started_once(hooks):
    with pytest.raises(HookRepeated, match="end it with on_run_end first"):
        hooks.on_run_start("r", tenant="acme")
    hooks.on_run_end("r")
    assert hooks.on_run_start("r", tenant="acme").allowed, "an id is free when its run has ended"


@pytest.mark.parametrize("kind", ["model", "tool"])
def test_an_after_without_its_before(kind, hooks):
    after = getattr(hooks, f"after_{kind}_call")
    with pytest.raises(CallUnknown, match=f"no {kind} call is open. Call before_{kind}_call first"):
        after("r")
    with pytest.raises(CallUnknown, match=f"no {kind} call 'x' is open"):
        after("r", call_id="x")
    decision = hooks.before_tool_call("r", "search", price="0.01")
    other = hooks.before_model_call("r", "big", estimate="0.01")
    wrong = decision if kind == "model" else other
    with pytest.raises(CallUnknown, match=f"no {kind} call"):
        after("r", call_id=wrong.call_id)
    hooks.after_tool_call("r", call_id=decision.call_id)
    with pytest.raises(CallUnknown, match="once"):
        hooks.after_tool_call("r", call_id=decision.call_id)
    hooks.after_model_call("r")


def test_a_refused_call_has_nothing_to_settle(hooks):
    decision = hooks.before_tool_call("r", "search", price="2")
    with pytest.raises(CallUnknown, match="a refused call has nothing to settle"):
        hooks.after_tool_call("r", call_id=decision.call_id)


def test_which_of_several_calls_is_meant_must_be_said(hooks):
    for _ in range(2):
        hooks.before_tool_call("r", "search", price="0.01")
    with pytest.raises(
        CallUnknown, match=r"2 tool calls are open; say which one with call_id=decision.call_id"
    ):
        hooks.after_tool_call("r")


def test_an_id_is_used_once_at_a_time(hooks):
    hooks.before_tool_call("r", "search", call_id="c-1")
    with pytest.raises(HookRepeated, match="'c-1' is open already"):
        hooks.before_model_call("r", "big", estimate="0.01", call_id="c-1")
    counters = hooks.books.counters()
    assert (counters.held, counters.released) == (0, 0), "nothing was reserved, not even for a moment"


def test_an_iteration_that_was_not_begun(hooks):
    with pytest.raises(CallUnknown, match="no iteration is open"):
        hooks.after_iteration("r")
    hooks.before_iteration("r")
    with pytest.raises(CallUnknown, match="no iteration 7 is open"):
        hooks.after_iteration("r", 7)
    hooks.after_iteration("r")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_token": 5}, "did you mean max_tokens="),
        ({"tools": []}, r"go into request=\{...\}"),
        ({"estimate": "much"}, "much"),
        ({"input_tokens": -1}, "input_tokens"),
        ({"price": "-1"}, "-1"),
        ({"on_lost": "forget"}, "on_lost"),
        ({"idempotency_key": ""}, "idempotency_key"),
    ],
)
def test_a_request_that_says_nothing_is_refused_before_anything_is_held(given, says, hooks):
    with pytest.raises(InvalidInput, match=says):
        hooks.before_model_call("r", "big", **({"estimate": "0.01"} | given))
    assert not any(key.startswith("all/") for key in hooks.books.accounts())
    with pytest.raises(CallUnknown):
        hooks.after_model_call("r")


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"max_costs": "1"}, InvalidInput, "did you mean max_cost="),
        ({"tenant": "a", "tenant_id": "b"}, InvalidLabel, "given twice"),
        ({"tenant_id": "b", "tenant": "a"}, InvalidLabel, "given twice"),
        ({"run": "x"}, InvalidInput, "its first argument"),
        ({"tenant": 7}, InvalidLabel, "tenant"),
    ],
)
def test_a_run_that_is_started_with_nonsense_is_not_open(given, error, says, hooks):
    with pytest.raises(error, match=says):
        hooks.on_run_start("new", **given)
    assert hooks.guard.runs() == ("r",)
    assert hooks.on_run_start("new").allowed


@pytest.mark.parametrize(
    "call", [("before_model_call", ""), ("before_tool_call", None)], ids=["model", "tool"]
)
def test_a_call_has_a_name(call, hooks):
    with pytest.raises(InvalidInput, match="give its name"):
        getattr(hooks, call[0])("r", call[1])


def test_all_of_them_are_errors_of_the_guard():
    assert {error.__base__ for error in (RunUnknown, CallUnknown, HookRepeated)} == {GuardError}


def test_a_guard_without_a_runtime_uses_the_default_one(runtime):
    guard = Guard()
    with default_in_block(runtime):
        guard.on_run_start("r")
    guard.before_tool_call("r", "search", price="0.02")
    guard.after_tool_call("r")
    guard.on_run_end("r")
    assert runtime.audit().exact
    accounts = {a.key: a for a in runtime.store.snapshot().accounts if "cost" in a.meters}
    assert [a.meters["cost"].spent for a in accounts.values()] == [20_000_000]
