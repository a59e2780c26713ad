"""Thresholds: told once per account and window, with every figure right, and in force from then on."""

from __future__ import annotations

import logging
from contextvars import Context

import pytest
from opened_runs import OpenedRuns

from costscope import BudgetExceeded, RunHalted, Runtime, budget_scope, metered_model, metered_tool, reserve
from costscope.scope.runtime import services_of
from costscope.stores.effects import run_async, run_sync
from costscope_memory import MemoryStore

CENT = 10_000_000
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def thresholds(make_runtime):
    """Makes runtimes under one budget of 0.10, which say what they were told of."""

    def make(*given, on_threshold=None, **budget):
        described = {"id": "b", "limits": {"cost": "0.10"}, "thresholds": list(given)} | budget
        runtime = make_runtime(policy={"budgets": [described]}, on_threshold=on_threshold)
        told = []
        runtime.events.on("threshold", told.append)
        return runtime, told

    return make


def spender(runtime, colour, price="0.01", **options):
    return metered_tool("t", price=price, runtime=runtime, **options)(colour.define(lambda: "made"))


def percents(told):
    return [event.threshold for event in told]


# ------------------------------------------------------------------------------- crossing, once


def test_each_percentage_is_told_once_when_spent_and_held_come_to_it(thresholds, colour):
    runtime, told = thresholds(50, 80, 100)
    tool = spender(runtime, colour)
    with budget_scope(runtime=runtime):
        for count in range(1, 11):
            colour.run(tool)
            assert percents(told) == [at for at in (50, 80, 100) if count * 10 >= at]
        with pytest.raises(BudgetExceeded):
            colour.run(tool)
    assert percents(told) == [50, 80, 100]


def test_what_is_held_counts(thresholds):
    runtime, told = thresholds(50)
    with budget_scope(runtime=runtime), reserve(tool="t", price="0.05", runtime=runtime) as hold:
        assert [(e.spent, e.held) for e in told] == [(0, 5 * CENT)]
        hold.release()


def test_one_call_may_cross_several(thresholds, colour):
    runtime, told = thresholds(50, 80)
    with budget_scope(runtime=runtime):
        colour.run(spender(runtime, colour, "0.09"))
    assert percents(told) == [50, 80]


def test_an_account_that_falls_back_and_rises_again_has_fired(thresholds, colour):
    """Held 90 %, cost 10 %: the crossing is told, once."""
    runtime, told = thresholds(80)
    small = spender(runtime, colour, "0.09", usage=lambda _: "0.01")
    with budget_scope(runtime=runtime):
        colour.run(small)
        assert percents(told) == [80]
        colour.run(spender(runtime, colour))
        colour.run(spender(runtime, colour, "0.07", usage=lambda _: "0.01"))
    assert percents(told) == [80]


def test_a_commit_that_overruns_its_hold_crosses(thresholds, colour):
    runtime, told = thresholds(80)
    overrunning = spender(runtime, colour, estimate="0.01", usage=lambda _: "0.09")
    with budget_scope(runtime=runtime):
        colour.run(overrunning)
        assert [(e.threshold, e.spent, e.held) for e in told] == [(80, 9 * CENT, 0)]


def test_a_stream_that_overruns_its_hold_crosses(thresholds, colour):
    runtime, told = thresholds(80)

    def body():
        yield "item"

    overrunning = metered_tool("g", estimate="0.01", usage=lambda _: "0.09", runtime=runtime)(
        colour.define(body)
    )

    async def collect():
        return [item async for item in overrunning()]

    with budget_scope(runtime=runtime):
        colour.run(collect if colour.name == "async" else lambda: list(overrunning()))
    assert percents(told) == [80]


def test_every_field_of_the_record_is_right(thresholds, colour):
    runtime, told = thresholds(
        {"at": 50, "meter": "cost", "actions": ["callback", "halt_new_runs"], "message": "half is gone"},
        per=["tenant"],
        period="yearly",
        limits={"cost": "0.10", "tool_calls": 1000},
    )
    with (
        budget_scope(runtime=runtime, tenant="acme", agent="a"),
        reserve(tool="h", price="0.02", runtime=runtime) as hold,
    ):
        colour.run(spender(runtime, colour, "0.04"))
        hold.release()
    (event,) = told
    assert (event.budget, event.meter, event.threshold) == ("b", "cost", 50.0)
    assert (event.spent, event.held, event.remaining, event.limit) == (0, 6 * CENT, 4 * CENT, 10 * CENT)
    assert event.labels == {"tenant": "acme"}
    assert event.actions == ("callback", "halt_new_runs")
    assert event.message == "half is gone"
    start, end = event.window_start, event.window_end
    assert (start.month, start.day, start.hour, end.year) == (1, 1, 0, start.year + 1)
    assert start <= event.at < end


def test_a_total_has_no_window_and_an_account_without_labels_says_where_it_happened(thresholds, colour):
    runtime, told = thresholds(50)
    with budget_scope(runtime=runtime, tenant="acme"):
        colour.run(spender(runtime, colour, "0.05"))
    (event,) = told
    assert (event.window_start, event.window_end, event.labels) == (None, None, {"tenant": "acme"})


def test_every_account_has_its_own(thresholds, colour):
    runtime, told = thresholds(50, per=["tenant"])
    tool = spender(runtime, colour, "0.05")
    for tenant in ("a", "b", "a"):
        with budget_scope(runtime=runtime, tenant=tenant):
            colour.run(tool)
    assert [event.labels["tenant"] for event in told] == ["a", "b"]


def test_each_meter_has_its_own(thresholds, colour):
    runtime, told = thresholds(50, limits={"cost": "0.10", "tool_calls": 4})
    tool = spender(runtime, colour)
    with budget_scope(runtime=runtime):
        for _ in range(4):
            colour.run(tool)
    assert [(e.meter, e.spent + e.held) for e in told] == [("tool_calls", 2)]


def test_a_scope_for_every_call_changes_nothing(thresholds, colour):
    runtime, told = thresholds(50)
    tool = spender(runtime, colour)
    for _ in range(8):
        with budget_scope(runtime=runtime, tenant="acme"), budget_scope(runtime=runtime, agent="a"):
            colour.run(tool)
    assert percents(told) == [50]


def test_another_process_on_the_same_books_does_not_fire_again(thresholds, make_runtime, colour, store_kind):
    """A second runtime stands for it: what has fired is in the store. The real ones are in test_processes."""
    if store_kind == "memory":
        pytest.skip("books in memory end with their process")
    runtime, told = thresholds(50)
    again = make_runtime(policy=runtime.policy)
    again.events.on("threshold", told.append)
    for acting in (runtime, again):
        with budget_scope(runtime=acting):
            colour.run(spender(acting, colour, "0.05"))
    assert percents(told) == [50]


def test_the_next_window_fires_again(colour):
    now = [1_800_000_000 * 10**9]
    store = MemoryStore(clock=lambda: now[0])
    policy = {"budgets": [{"id": "b", "limits": {"cost": "0.10"}, "period": "hourly", "thresholds": [50]}]}
    told = []
    with Runtime(store=store, policy=policy, clock=lambda: now[0]) as runtime:
        runtime.events.on("threshold", told.append)
        with budget_scope(runtime=runtime):
            for _ in range(3):
                colour.run(spender(runtime, colour, "0.05"))
                colour.run(spender(runtime, colour, "0.01"))
                now[0] += HOUR_NS
    assert [event.window_start.hour for event in told] == [told[0].window_start.hour + at for at in range(3)]


def test_another_window_of_the_same_budget_fires_again_on_a_store_with_a_clock_of_its_own(
    make_runtime, colour
):
    """A day elsewhere is another window: what the next day is, without waiting for it."""
    told = []
    for zone in ("Etc/GMT+11", "Etc/GMT-12", "Etc/GMT+11"):
        budget = {
            "id": "b",
            "limits": {"cost": "0.10"},
            "period": "daily",
            "timezone": zone,
            "thresholds": [50],
        }
        runtime = make_runtime(policy={"budgets": [budget]})
        runtime.events.on("threshold", told.append)
        with budget_scope(runtime=runtime):
            colour.run(spender(runtime, colour, "0.05"))
        runtime.close()
    starts = {event.window_start for event in told}
    expected = 2 if runtime.store.waits else 3  # books in memory are new with every store
    assert len(told) == expected
    assert len(starts) == 2


def test_the_admission_of_runs_crosses(thresholds, colour):
    runtime, told = thresholds(50, limits={"runs": 4, "concurrent_runs": 4})
    opened = OpenedRuns(runtime, colour)
    openers = [opened.enter(run=name)[0] for name in ("r-1", "r-2", "r-3")]
    assert sorted((e.meter, e.spent, e.held, e.limit) for e in told) == [
        ("concurrent_runs", 0, 2, 4),
        ("runs", 0, 2, 4),
    ]
    for opener in openers:
        opened.leave(opener)


def test_iterations_cross(thresholds, colour):
    runtime, told = thresholds(50, limits={"iterations": 4})
    opened = OpenedRuns(runtime, colour)
    opener, scope = opened.enter(run="r-1")
    for _ in range(3):
        turn = scope.iteration()
        if colour.name == "sync":
            run_sync(turn.begin(), runtime.store)
            run_sync(turn.end(), runtime.store)
        else:
            colour.run(lambda turn=turn: run_async(turn.begin(), runtime.store))
            colour.run(lambda turn=turn: run_async(turn.end(), runtime.store))
    opened.leave(opener)
    assert [(e.meter, e.threshold, e.spent + e.held) for e in told] == [("iterations", 50, 2)]


def test_slots_of_calls_cross(thresholds):
    runtime, told = thresholds(50, limits={"concurrent_calls": 4})
    with (
        budget_scope(runtime=runtime),
        reserve(tool="a", price=0, runtime=runtime),
        reserve(tool="b", price=0, runtime=runtime),
        reserve(tool="c", price=0, runtime=runtime),
    ):
        pass
    assert [(e.meter, e.spent, e.held) for e in told] == [("concurrent_calls", 0, 2)]


# --------------------------------------------------------------------------------- log, callback


@pytest.mark.parametrize(
    ("given", "logged", "called"),
    [
        (50, True, True),
        ({"at": 50, "actions": ["log"]}, True, False),
        ({"at": 50, "actions": ["callback"]}, False, True),
        ({"at": 50, "actions": ["halt_new_runs"]}, False, False),
    ],
)
def test_log_and_callback_do_what_they_say(given, logged, called, thresholds, colour, caplog):
    """Who listens to the whole stream hears of every crossing."""
    calls, globally = [], []
    runtime, told = thresholds(given, on_threshold=globally.append)
    with (
        caplog.at_level(logging.INFO, "costscope.events"),
        budget_scope(runtime=runtime, on_threshold=calls.append),
    ):
        colour.run(spender(runtime, colour, "0.05"))
    assert bool(caplog.records) == logged
    assert (percents(calls) == [50]) == called
    assert percents(globally) == percents(calls)
    assert percents(told) == [50]


# -------------------------------------------------------------------------------------- in force


def asker(runtime, colour, price="0.01", **options):
    """A model function that says which model and cap it was called with."""

    def ask(model, max_tokens=None):
        return model, max_tokens

    options = {"price": price, "estimate": price, "usage": lambda _: {"input_tokens": 1}} | options
    return metered_model(runtime=runtime, **options)(colour.define(ask))


def test_downgrade_model_is_in_force_from_the_crossing_on(thresholds, colour):
    runtime, _ = thresholds({"at": 50, "actions": [{"downgrade_model": "cheap"}]})
    ask = asker(runtime, colour)
    with budget_scope(runtime=runtime):
        used = [colour.run(ask, model="dear")[0] for _ in range(7)]
    assert used == ["dear"] * 5 + ["cheap"] * 2


def test_what_is_in_force_ends_when_the_account_falls_back(thresholds, colour):
    """Held 90 %, cost 10 %: the calls after that are not affected, not even the first."""
    runtime, _ = thresholds(
        {
            "at": 80,
            "actions": [{"downgrade_model": "cheap"}, "halt_run", {"limit_capabilities": {"max_tokens": 5}}],
        }
    )
    ask = asker(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        colour.run(spender(runtime, colour, "0.09", usage=lambda _: "0.01"))
        assert colour.run(ask, model="dear", max_tokens=10) == ("dear", 10)


def test_halt_run_stops_the_run_at_its_next_call_and_iteration(thresholds, colour):
    runtime, _ = thresholds({"at": 50, "actions": ["halt_run"]})
    tool = spender(runtime, colour, "0.05")
    with budget_scope(runtime=runtime, run="r-1") as scope:
        colour.run(tool)
        with pytest.raises(RunHalted, match="50 %"):
            colour.run(tool)
        with pytest.raises(RunHalted), scope.iteration():
            pytest.fail("it was halted")
    with budget_scope(runtime=runtime):
        assert colour.run(tool) == "made"


def test_halt_new_runs_admits_none_and_lets_those_that_are_there_go_on(thresholds, colour):
    runtime, _ = thresholds({"at": 50, "actions": ["halt_new_runs"]})
    tool = spender(runtime, colour, "0.05")

    async def refused():
        async with budget_scope(runtime=runtime, run="r-2"):
            pytest.fail("it was admitted")

    def refused_sync():
        with budget_scope(runtime=runtime, run="r-2"):
            pytest.fail("it was admitted")

    with budget_scope(runtime=runtime, run="r-1") as running:
        colour.run(tool)
        with pytest.raises(BudgetExceeded, match="admits no new runs"):
            Context().run(colour.run, refused_sync if colour.name == "sync" else refused)
        assert colour.run(tool) == "made"
    assert running.summary().status == "completed"


@pytest.mark.parametrize(
    ("caps", "own", "expected"),
    [(20, 100, 20), (20, 10, 10), (0.5, 100, 50), (0.5, None, 2000), (20, None, 20)],
)
def test_limit_capabilities_caps_the_output_by_an_amount_or_a_factor(
    caps, own, expected, make_runtime, colour
):
    """A factor of a call that states no cap is one of what the model may make at most."""
    runtime = make_runtime(
        policy={
            "budgets": [
                {
                    "id": "b",
                    "limits": {"tool_calls": 2},
                    "thresholds": [{"at": 50, "actions": [{"limit_capabilities": {"max_tokens": caps}}]}],
                }
            ],
            "prices": {"models": {"m": {"input": "1", "output": "1", "max_output_tokens": 4000}}},
        }
    )

    def ask(model, max_tokens=None):
        return max_tokens

    asking = metered_model(runtime=runtime, usage=lambda _: {"input_tokens": 1})(colour.define(ask))
    with budget_scope(runtime=runtime):
        colour.run(spender(runtime, colour))
        given = {} if own is None else {"max_tokens": own}
        assert colour.run(asking, model="m", **given) == expected


@pytest.mark.parametrize(("cap", "made"), [(3, 3), (0.5, 4)])
def test_limit_capabilities_limits_the_iterations_of_a_run(cap, made, thresholds, colour):
    runtime, _ = thresholds(
        {"at": 50, "meter": "cost", "actions": [{"limit_capabilities": {"iterations": cap}}]},
        constraints={"iterations": 8},
    )
    tool = spender(runtime, colour, "0.05")

    async def loop_async(scope):
        return [turn async for turn in scope.iterations()]

    with budget_scope(runtime=runtime, run="r-1") as scope:
        colour.run(tool)
        turns = colour.run(loop_async, scope) if colour.name == "async" else list(scope.iterations())
        assert len(turns) == made
    with budget_scope(runtime=runtime, run="r-2", max_iterations=2) as scope:
        assert len(list(scope.iterations())) == min(made, 1 if cap == 0.5 else 2)


def test_a_call_that_finds_a_threshold_passed_by_others_is_subject_to_it(
    thresholds, make_runtime, colour, store_kind
):
    """The first call of a process knows nothing of the account; it learns before its function runs."""
    if store_kind == "memory":
        pytest.skip("books in memory have no second process")
    runtime, _ = thresholds(
        {
            "at": 50,
            "meter": "cost",
            "actions": [{"downgrade_model": "cheap"}, {"limit_capabilities": {"max_tokens": 5}}],
        },
        limits={"cost": "0.10", "model_calls": 100},
    )
    with budget_scope(runtime=runtime):
        colour.run(spender(runtime, colour, "0.05"))
    other = make_runtime(policy=runtime.policy)
    with budget_scope(runtime=other):
        assert colour.run(asker(other, colour), model="dear", max_tokens=10) == ("cheap", 5)
    assert {account.key: account.meters["cost"].held for account in other.store.snapshot().accounts}
    other.close()


def test_a_run_that_finds_a_halting_threshold_passed_by_others_makes_no_call(
    thresholds, make_runtime, colour, store_kind
):
    if store_kind == "memory":
        pytest.skip("books in memory have no second process")
    runtime, _ = thresholds({"at": 50, "actions": ["halt_run"]})
    with budget_scope(runtime=runtime):
        colour.run(spender(runtime, colour, "0.05"))
    other = make_runtime(policy=runtime.policy)
    with budget_scope(runtime=other, run="r-1"), pytest.raises(RunHalted):
        colour.run(spender(other, colour))
    with budget_scope(runtime=other):
        colour.run(spender(other, colour, "0.05"))  # nothing of the refused call is held


def test_a_process_that_saw_the_account_high_asks_before_it_halts(
    thresholds, make_runtime, colour, store_kind
):
    """Another process has given back what it held: nothing is left that would halt the run."""
    if store_kind == "memory":
        pytest.skip("books in memory have no second process")
    runtime, _ = thresholds({"at": 50, "actions": ["halt_run", {"downgrade_model": "cheap"}]})
    other = make_runtime(policy=runtime.policy)
    with budget_scope(runtime=other, run="r-1"):
        with budget_scope(runtime=runtime), reserve(tool="h", price="0.08", runtime=runtime) as hold:
            with budget_scope(runtime=other) as watching:
                watching.refresh()
            hold.release()
        assert services_of(runtime).outbox.drain(10)
        assert colour.run(asker(other, colour), model="dear")[0] == "dear"


def test_a_reader_is_subject_to_what_it_has_read(thresholds, make_runtime, colour, store_kind):
    if store_kind == "memory":
        pytest.skip("books in memory have no second process")
    runtime, told = thresholds({"at": 50, "actions": ["callback", {"downgrade_model": "cheap"}]})
    other = make_runtime(policy=runtime.policy)
    other.events.on("threshold", told.append)
    with budget_scope(runtime=other) as scope:
        with budget_scope(runtime=runtime):
            colour.run(spender(runtime, colour, "0.05"))
        scope.refresh()
        assert colour.run(asker(other, colour), model="dear")[0] == "cheap"
    assert percents(told) == [50]
