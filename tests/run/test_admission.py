"""Entering a scope with a `run` label is admission: counted, refused before anything is spent, in one round trip."""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal

import pytest
from monitoring import Monitor
from opened_runs import OpenedRuns, make_current
from until import until

from costscope import (
    BudgetExceeded,
    InvalidInput,
    InvalidLabel,
    RunHalted,
    Runtime,
    StoreUnavailable,
    budget_scope,
    metered_model,
    metered_tool,
)
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of
from costscope.testing.outage import OutageStore
from costscope_valkey.codec import source_of
from costscope_valkey.link import Script

CENT = 10_000_000


@pytest.fixture
def policy():
    return {
        "budgets": [
            {"id": "team-day", "per": ["team"], "period": "daily", "limits": {"runs": 2, "cost": "1.00"}},
            {"id": "places", "per": ["team"], "limits": {"concurrent_runs": 1}},
        ]
    }


@pytest.fixture
def opened(runtime, colour):
    return OpenedRuns(runtime, colour)


def meters(books, budget, meter):
    found = books.counters(budget, meter)
    return found.spent, found.held


def test_a_run_is_counted_from_its_admission_and_its_place_is_free_when_it_ends(opened, books):
    opener, _ = opened.enter(team="a", run="r-1")
    assert meters(books, "team-day", "runs") == (0, 1)
    assert meters(books, "places~slots", "concurrent_runs") == (0, 1)
    opened.leave(opener)
    assert meters(books, "team-day", "runs") == (1, 0)
    assert meters(books, "places~slots", "concurrent_runs") == (0, 0)
    books.settle()


def test_more_runs_than_the_period_allows_are_refused_until_it_resets(opened, books):
    for number in range(2):
        opened.leave(opened.enter(team="a", run=f"r-{number}")[0])
    with pytest.raises(
        BudgetExceeded, match=r"run r-3: budget 'team-day' \(team=a\) refuses 1 run"
    ) as refused:
        opened.enter(team="a", run="r-3")
    assert (refused.value.kind, refused.value.meter, refused.value.spent) == ("exhausted", "runs", 2)
    assert refused.value.resets_at is not None
    opened.leave(opened.enter(team="b", run="r-3")[0])
    books.settle()


def test_a_run_that_finds_no_place_may_try_again_when_another_has_ended(opened, books):
    opener, _ = opened.enter(team="a", run="r-1")
    with pytest.raises(BudgetExceeded) as refused:
        opened.enter(team="a", run="r-2")
    assert (refused.value.kind, refused.value.meter) == ("in_flight", "concurrent_runs")
    assert refused.value.budget == "places"
    assert refused.value.retry_after == 1.0
    opened.leave(opener)
    opened.leave(opened.enter(team="a", run="r-2")[0])
    assert meters(books, "team-day", "runs") == (2, 0), "the refused one was not counted"
    books.settle()


def test_a_refused_run_holds_nothing_ends_nothing_and_is_told_as_refused(opened, runtime, books):
    told = []
    for kind in ("run_started", "run_ended", "denied"):
        runtime.events.on(kind, told.append)
    outer = opened.enter(team="a", run="r-1")[0]
    with pytest.raises(BudgetExceeded):
        opened.enter(team="a", run="r-2")
    assert runtime.current_scope() is None
    opened.leave(outer)
    assert [type(event).__name__ for event in told] == ["RunStarted", "CallRefused", "RunEnded"]
    refused = told[1]
    assert (refused.what, refused.name, refused.kind, refused.budget) == ("run", "r-2", "in_flight", "places")
    assert told[2].run == "r-1"
    books.settle()


def test_a_budget_without_a_place_will_never_have_one(make_runtime, colour):
    runtime = make_runtime(policy={"budgets": [{"id": "none", "limits": {"concurrent_runs": 0}}]})
    with pytest.raises(BudgetExceeded) as refused:
        OpenedRuns(runtime, colour).enter(run="r-1")
    assert refused.value.kind == "never_fits"


def test_a_halted_run_is_not_admitted_again(opened, books):
    opener, scope = opened.enter(team="a", run="r-1")
    scope.halt("enough")
    opened.leave(opener)
    with pytest.raises(RunHalted, match="run r-1 was halted") as halted:
        opened.enter(team="a", run="r-1")
    assert halted.value.kind == "halted"
    assert meters(books, "team-day", "runs") == (1, 0)
    books.settle()


def test_a_run_that_is_opened_again_under_its_name_is_admitted_again_on_the_same_limits(opened, books):
    for cents in (1, 2):
        opener, scope = opened.enter(team="a", run="r-1", max_cost="0.02")
        with reserve(opened.runtime, scope):
            pass
        assert books.spent(budget="~scope") == cents * CENT
        opened.leave(opener)
    assert meters(books, "team-day", "runs") == (2, 0)
    with pytest.raises(BudgetExceeded) as refused:
        opened.enter(team="a", run="r-1")
    assert refused.value.meter == "runs"


@contextmanager
def reserve(runtime, scope):
    """A call of a cent in this scope, wherever the context is."""
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    contextvars.copy_context().run(lambda: (make_current(scope), tool()))
    yield


def test_a_run_waits_for_a_place_where_its_budget_says_so(make_runtime, colour):
    wait = {"do": "wait", "timeout": "20s"}
    budget = {"id": "p", "limits": {"concurrent_runs": 1}, "on_denied": wait}
    opened = OpenedRuns(make_runtime(policy={"budgets": [budget]}), colour)
    first, _ = opened.enter(run="r-1")

    def leave_when_somebody_waits() -> None:
        until(lambda: bool(services_of(opened.runtime).wait_list))
        contextvars.copy_context().run(first.__exit__, None, None, None)

    with ThreadPoolExecutor(1) as pool:
        leaving = pool.submit(leave_when_somebody_waits)
        second, scope = opened.enter(run="r-2")
        leaving.result(20)
    assert state_of(scope).run.begun
    opened.leave(second)


def test_a_store_that_is_away_admits_no_run(make_store, make_runtime, colour):
    store = OutageStore(make_store())
    runtime = make_runtime(store=store)
    with store.away(), pytest.raises(StoreUnavailable):
        OpenedRuns(runtime, colour).enter(team="a", run="r-1")


def test_a_store_that_is_away_admits_runs_of_budgets_that_stay_open(make_store, make_runtime, colour, policy):
    store = OutageStore(make_store())
    for budget in policy["budgets"]:
        budget["on_outage"] = "open"
    runtime = make_runtime(store=store, policy=policy)
    opened = OpenedRuns(runtime, colour)
    with store.away():
        opener, scope = opened.enter(team="a", run="r-1")
        with scope.iteration():
            pass
    opened.leave(opener)
    assert scope.summary().status == "completed"
    assert services_of(runtime).outbox.drain(20)
    assert runtime.store.snapshot().holds == ()


def test_a_run_in_a_run_is_the_same_run(runtime, books):
    """A child may not change what it inherited: there is one `run` to a tree of scopes."""
    with budget_scope(runtime=runtime, team="a", run="r-1") as outer:
        with budget_scope(runtime=runtime, run="r-1", agent="w") as inner:
            assert state_of(inner).run is state_of(outer).run
            assert not state_of(inner).opens_run
        with pytest.raises(InvalidLabel, match="run='r-2'"), budget_scope(runtime=runtime, run="r-2"):
            pass
        for about_runs in ({"max_wall_clock": 1}, {"join_run": True}):
            with pytest.raises(InvalidInput, match="max_wall_clock and join_run are about the run"):
                budget_scope(runtime=runtime, **about_runs).__enter__()
        assert outer.summary().status is None
    assert outer.summary().status == "completed"
    assert meters(books, "team-day", "runs") == (1, 0)


@pytest.mark.parametrize(
    "limits", [{}, {"max_cost": "1"}, {"max_wall_clock": "1h"}], ids=["", "cost", "clock"]
)
def test_the_admission_of_a_run_is_one_round_trip_and_so_is_its_end(
    valkey_server, patient_url, colour, policy, limits
):
    """Counted by the server. What tells others of it goes out in the background, in requests of its own."""
    runtime = Runtime(store=patient_url, policy=policy)
    opened = OpenedRuns(runtime, colour)
    opened.leave(opened.enter(team="a", run="first")[0])  # connects, loads the scripts
    assert runtime.events.drain(20)
    ledger, board = Script(source_of("ledger")).sha, Script(source_of("board")).sha
    with Monitor(valkey_server, patient_url) as monitor:
        opener, _ = opened.enter(team="b", run="r-1", **limits)
        assert runtime.events.drain(20)
        entered = monitor.commands()
        opened.leave(opener)
        assert runtime.events.drain(20)
        left = monitor.commands()
    runtime.close()
    for requests in (entered, left):
        asked = [ledger if ledger in words else board if board in words else words for words in requests]
        assert sorted(asked) == sorted([ledger, *[board] * (len(asked) - 1)])
        assert len(asked) <= 3


def test_the_admission_shows_how_the_budgets_stand_so_that_no_first_call_is_sent_back(
    valkey_server, patient_url, colour
):
    """In the same request; without it, the first call of a process would hold too much, give it back and hold again."""
    policy = {
        "prices": {"models": {"big": {"input": "1", "output": "1"}, "small": {"input": "1", "output": "1"}}},
        "budgets": [
            {
                "id": "team",
                "per": ["team"],
                "limits": {"cost": "1.00", "runs": 5},
                "thresholds": [{"at": 50, "actions": ["downgrade_model"]}],
            }
        ],
        "routing": [{"id": "cheaper", "stages": [{"fallbacks": ["small"]}]}],
    }
    with Runtime(store=patient_url, policy=policy) as before, budget_scope(runtime=before, team="a"):
        metered_tool("t", price="0.60", runtime=before)(lambda: None)()
    ledger, asked = Script(source_of("ledger")).sha, []
    with Runtime(store=patient_url, policy=policy) as runtime:
        body = colour.define(lambda *, model, prompt, max_tokens: asked.append(model))
        opened, ask = OpenedRuns(runtime, colour), metered_model(runtime=runtime)(body)
        with Monitor(valkey_server, patient_url) as monitor:
            opener, scope = opened.enter(team="a", run="r-1")
            entered = monitor.commands()
            assert scope.remaining == Decimal("0.40")
            inside = contextvars.copy_context()
            inside.run(make_current, scope)
            inside.run(colour.run, ask, model="big", prompt="Hi", max_tokens=10)
            called = monitor.commands()
        opened.leave(opener)
    assert asked == ["small"]
    assert sum(ledger in words for words in entered) == 1
    assert sum(ledger in words for words in called) == 2, "a reserve and a commit"
