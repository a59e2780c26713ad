"""What is done about a run that seems out of control: every action, in force from the next call on, in that run only."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import UTC, datetime

import pytest
from paced import Paced
from suspects import OFF, failing

from costscope import BudgetExceeded, RunHalted, Runtime, budget_scope, metered_model, metered_tool
from costscope.testing import ManualClock

MODELS = {"big": {"input": "10", "output": "100"}, "small": {"input": "1", "output": "10"}}


@pytest.fixture
def watched(watching):
    """Runtimes whose runs are suspect after two failures, and what is done then."""

    def make(*actions, **more):
        return watching(OFF | {"failures": 2, "actions": list(actions)}, prices={"models": MODELS}, **more)

    return make


def make_suspect(runtime, colour, heard):
    """The two failures, until everybody has heard of them."""
    fail = failing(runtime, colour)
    fail(1)
    fail(2)
    assert len(heard()) > 0


def asking(runtime, colour):
    made = []

    def ask(text, model="big", max_tokens=1000):
        made.append((model, max_tokens))
        return {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    return metered_model(runtime=runtime)(colour.define(ask)), made


def test_log(watched, colour, caplog):
    runtime, heard = watched("log")
    with budget_scope(runtime=runtime, run="r-1") as scope, caplog.at_level(logging.WARNING, "costscope"):
        make_suspect(runtime, colour, heard)
        assert scope.run.goes_on, "nothing else was asked for"
    (line,) = [record for record in caplog.records if "out of control" in record.message]
    assert "run r-1 seems out of control: 2 calls failed one after the other" in line.message
    assert line.levelno == logging.WARNING


def test_without_log_nothing_is_logged_as_a_warning(watched, colour, caplog):
    runtime, heard = watched("callback")
    with budget_scope(runtime=runtime, run="r-1"), caplog.at_level(logging.WARNING, "costscope"):
        make_suspect(runtime, colour, heard)
    assert not [record for record in caplog.records if "out of control" in record.message]


@pytest.mark.parametrize("said", [True, False])
def test_callback(said, watched, colour):
    """Of the scope that made the call, and of those around it; without the action they are left in peace."""
    runtime, heard = watched("callback" if said else "log")
    inner, outer = [], []
    with (
        budget_scope(runtime=runtime, run="r-1", on_runaway=outer.append),
        budget_scope(runtime=runtime, agent="a", on_runaway=inner.append),
    ):
        make_suspect(runtime, colour, heard)
    assert [event.reason for event in inner] == ["failures"] * said
    assert outer == inner


def test_callback_of_the_runtime(make_runtime, colour):
    told = []
    runtime = make_runtime(
        policy={
            "budgets": [{"id": "all", "limits": {"cost": "9"}}],
            "runaway": OFF | {"failures": 2, "actions": ["callback"]},
        },
        on_runaway=told.append,
    )
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        fail(1)
        fail(2)
    assert runtime.call_reports.drain(30)
    assert runtime.events.drain(30)
    assert [event.run for event in told] == ["r-1"]


def test_downgrade_model_to_the_next_fallback_of_the_route(watched, settle, colour):
    runtime, heard = watched(
        "downgrade_model", routing=[{"id": "r", "models": ["big"], "stages": [{"fallback": "small"}]}]
    )
    ask, made = asking(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        colour.run(ask, "hi")
        make_suspect(runtime, colour, heard)
        colour.run(ask, "hi")
    with budget_scope(runtime=runtime, run="r-2"):
        colour.run(ask, "hi")
    assert [model for model, _ in made] == ["big", "small", "big"]
    settle(runtime)


def test_downgrade_model_to_one_by_name(watched, colour):
    runtime, heard = watched({"downgrade_model": "small"})
    ask, made = asking(runtime, colour)
    downgrades = []
    runtime.events.on("downgrade", downgrades.append)
    with budget_scope(runtime=runtime, run="r-1"):
        make_suspect(runtime, colour, heard)
        colour.run(ask, "hi")
    assert made == [("small", 1000)]
    assert [event.reason for event in downgrades] == ["downgrade_model: small"]


def test_limit_capabilities(watched, colour):
    runtime, heard = watched({"limit_capabilities": {"max_tokens": 0.5, "iterations": 3}})
    ask, made = asking(runtime, colour)
    turns = 0
    with budget_scope(runtime=runtime, run="r-1") as scope, contextlib.suppress(BudgetExceeded):
        for _ in scope.iterations():
            turns += 1
            colour.run(ask, "hi")
            if turns == 1:
                make_suspect(runtime, colour, heard)
    assert turns == 3
    assert [cap for _, cap in made] == [1000, 500, 500]
    turns = 0
    with budget_scope(runtime=runtime, run="r-2") as scope:
        for turns in scope.iterations():
            colour.run(ask, "hi")
            if turns == 5:
                break
    assert turns == 5
    assert made[-1] == ("big", 1000)


def test_halt_run(watched, settle, colour):
    """Also for whoever joins it, and for its loops."""
    runtime, heard = watched("halt_run")
    tool = metered_tool("u", price="0.01", runtime=runtime)(colour.define(lambda: "made"))
    with budget_scope(runtime=runtime, run="r-1") as scope:
        make_suspect(runtime, colour, heard)
        with pytest.raises(RunHalted, match="out of control: 2 calls failed"):
            colour.run(tool)
        with pytest.raises(RunHalted), scope.iteration():
            pass
    assert scope.summary().status == "halted"
    with budget_scope(runtime=runtime, run="r-2"):
        assert colour.run(tool) == "made"
    settle(runtime)


def test_halt_new_runs_of_the_most_specific_budget_until_it_is_reset(watched, settle, colour):
    runtime, heard = watched("halt_new_runs", budget={"id": "tenant", "per": ["tenant"]})
    tool = metered_tool("u", price="0.01", runtime=runtime)(colour.define(lambda: "made"))
    with budget_scope(runtime=runtime, tenant="acme", run="r-1"):
        make_suspect(runtime, colour, heard)
        assert colour.run(tool) == "made", "runs that were admitted go on"
    assert runtime.outbox.drain(30)
    with (
        pytest.raises(BudgetExceeded, match="no new runs"),
        budget_scope(runtime=runtime, tenant="acme", run="r-2"),
    ):
        pass
    with budget_scope(runtime=runtime, tenant="other", run="r-2"):
        assert colour.run(tool) == "made"
    with budget_scope(runtime=runtime, tenant="acme") as scope:
        scope.reset(reason="looked into", budget="tenant")
    with budget_scope(runtime=runtime, tenant="acme", run="r-3"):
        assert colour.run(tool) == "made"
    settle(runtime)


def test_several_actions_together(watched, colour):
    runtime, heard = watched(
        "log", "callback", {"downgrade_model": "small"}, {"limit_capabilities": {"max_tokens": 100}}
    )
    ask, made = asking(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        make_suspect(runtime, colour, heard)
        colour.run(ask, "hi")
    assert made == [("small", 100)]
    assert heard()[0].actions == ("log", "callback", "downgrade_model", "limit_capabilities")


def test_what_thresholds_have_put_in_force_holds_beside_it(watched, colour):
    runtime, heard = watched(
        {"limit_capabilities": {"max_tokens": 600}},
        budget={
            "limits": {"cost": "1"},
            "thresholds": [{"at": 10, "actions": [{"limit_capabilities": {"max_tokens": 0.5}}]}],
        },
    )
    ask, made = asking(runtime, colour)
    pay = metered_tool("pay", price="0.2", runtime=runtime)(colour.define(lambda: None))
    with budget_scope(runtime=runtime, run="r-1"):
        make_suspect(runtime, colour, heard)
        colour.run(ask, "hi")
        colour.run(pay)
        colour.run(ask, "hi")
    assert [cap for _, cap in made] == [600, 500]


# ----------------------------------------------------------------------------------------- throttle


def test_throttle_paces_the_run_to_what_the_rest_of_the_window_carries(colour):
    """Half an hour is left of an hour with 100 calls; the run is held up, and no other one."""
    clock = ManualClock(datetime(2026, 1, 1, 12, 30, tzinfo=UTC))
    store = Paced(clock=clock)
    with Runtime(
        store=store,
        clock=clock,
        policy={
            "budgets": [{"id": "b", "period": "hourly", "limits": {"tool_calls": 102, "cost": "100"}}],
            "runaway": OFF | {"failures": 2, "actions": [{"throttle": "8s"}]},
        },
    ) as runtime:
        fail = failing(runtime, colour)
        tool = metered_tool("u", price="0.01", runtime=runtime)(colour.define(lambda: "made"))
        with budget_scope(runtime=runtime, run="r-1"):
            fail(1)
            fail(2)
            assert store.paces == []
            assert colour.run(tool) == "made"
            clock.advance(9)
            with pytest.raises(BudgetExceeded, match="throttled") as refused:
                colour.run(tool)
            clock.advance(9)
            assert colour.run(tool) == "made"
        # 100 calls are left for 1800 s, then 99 for 1791 and for 1782 s
        assert [pace.interval_ms for pace in store.paces] == [18_000, 18_091, 18_000]
        assert {pace.patience_ms for pace in store.paces} == {8_000}
        assert (refused.value.kind, refused.value.budget, refused.value.meter) == (
            "throttled",
            "b",
            "tool_calls",
        )
        before = len(store.paces)
        with budget_scope(runtime=runtime, run="r-2"):
            for _ in range(5):
                colour.run(tool)
        assert len(store.paces) == before


def test_throttled_calls_wait_for_their_turn_on_every_store(watched, settle, colour):
    """A day that carries some twenty calls a second from now on."""
    now = datetime.now(UTC)
    hours = next(at for at in range(-11, 13) if 8 <= (now.hour + at) % 24 < 16)
    rest_s = 86_400 - ((now.hour + hours) % 24 * 3600 + now.minute * 60 + now.second)
    runtime, heard = watched(
        "throttle",
        budget={"period": "daily", "timezone": f"Etc/GMT{-hours:+d}", "limits": {"tool_calls": rest_s * 20}},
    )
    tool = metered_tool("u", price=0, runtime=runtime)(colour.define(lambda: "made"))
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(20):
            colour.run(tool)
        make_suspect(runtime, colour, heard)
        colour.run(tool)
        began = time.monotonic()
        for _ in range(6):
            colour.run(tool)
        assert 0.25 < time.monotonic() - began < 10
    settle(runtime)


def test_throttle_goes_by_what_calls_cost_and_not_by_what_they_hold(colour):
    clock = ManualClock(datetime(2026, 1, 1, 12, 30, tzinfo=UTC))
    store = Paced(clock=clock)
    with Runtime(
        store=store,
        clock=clock,
        policy={
            "budgets": [{"id": "b", "period": "hourly", "limits": {"cost": "1.81"}}],
            "runaway": OFF | {"repeats": 2, "actions": ["throttle"]},
        },
    ) as runtime:
        tool = metered_tool("t", estimate="0.50", usage=lambda _: "0.005", runtime=runtime)(
            colour.define(lambda: "made")
        )
        with budget_scope(runtime=runtime, run="r-1"):
            for _ in range(3):
                colour.run(tool)
    assert [pace.interval_ms for pace in store.paces] == [5_000]  # 1.80 for 1800 s, half a cent a call
