"""`scope.reset(reason=...)`: limits set back, with a record of why."""

from __future__ import annotations

import contextvars
from decimal import Decimal

import pytest

from costscope import BudgetExceeded, InvalidInput, RunHalted, budget_scope, metered_tool
from costscope.board import ReadEvents
from costscope.events import AccountReset, decode_event

CENT = 10_000_000


@pytest.fixture
def policy():
    return {
        "budgets": [
            {
                "id": "day",
                "match": {"tenant": "*"},
                "per": ["tenant"],
                "period": "daily",
                "limits": {"cost": "0.03", "runs": 5, "concurrent_runs": 1},
                "thresholds": [50],
                "constraints": {"iterations": 1, "tool_calls": 10},
            }
        ]
    }


@pytest.fixture
def tool(runtime, colour):
    return metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: None))


def reset(colour, scope, **options):
    return colour.run(scope.reset if colour.name == "sync" else scope.areset, **options)


def published(runtime):
    assert runtime.events.drain(30)
    records = [decode_event(one.record) for one in runtime.store.tell([ReadEvents()])[0]]
    return [record for record in records if isinstance(record, AccountReset)]


def test_a_scopes_own_limit_starts_anew_and_the_books_still_balance(runtime, colour, tool, books):
    with budget_scope(runtime=runtime, max_cost="0.01") as scope:
        colour.run(tool)
        with pytest.raises(BudgetExceeded):
            colour.run(tool)
        [record] = reset(colour, scope, reason="the test run was ours")
        assert record.forgiven == {"cost": CENT}
        assert record.budget == "~scope"
        colour.run(tool)
        scope.refresh()
        assert scope.spent == Decimal("0.01")
    [audited] = published(runtime)
    assert audited.reason == "the test run was ours"
    assert audited.forgiven == {"cost": CENT}
    books.settle()


def test_a_budget_is_reset_by_its_id_and_nothing_else_is(runtime, colour, tool, books):
    crossed = []
    runtime.events.on("threshold", crossed.append)
    with budget_scope(runtime=runtime, tenant="acme", max_tool_calls=10) as scope:
        for _ in range(3):
            colour.run(tool)
        with pytest.raises(BudgetExceeded):
            colour.run(tool)
        [record] = reset(colour, scope, reason="credit note 7", budget="day")
        assert record.forgiven == {"cost": 3 * CENT}
        assert record.labels == {"tenant": "acme"}
        for _ in range(3):
            colour.run(tool)
        rows = {(row.budget, row.meter): row.spent for row in scope.refresh()}
        assert rows["~scope", "tool_calls"] == 6
        assert rows["day", "cost"] == 3 * CENT
    assert [event.threshold for event in crossed] == [50, 50], "a threshold of a reset account fires again"
    books.settle()


def test_a_halted_run_goes_on_and_may_be_halted_again(runtime, colour, tool, books):
    with budget_scope(runtime=runtime, tenant="acme", run="r") as run:
        for _ in range(2):
            run.halt("a person said so")
            with pytest.raises(RunHalted, match="a person said so"):
                colour.run(tool)
            reset(colour, run, reason="looked at it")
        colour.run(tool)
    books.settle()


def test_iterations_begin_anew(runtime, colour):
    with budget_scope(runtime=runtime, tenant="acme", run="r") as run:
        assert list(run.iterations()) == [1]
        assert list(run.iterations()) == []
        records = reset(colour, run, reason="second half")
        assert [record.forgiven for record in records] == [{"iterations": 1}]
        assert list(run.iterations()) == [1]


def test_what_is_held_stays_held(runtime, colour, books):
    @metered_tool("t", price="0.01", runtime=runtime)
    def tool():
        [record] = reset(colour, scope, reason="in the middle", budget="day")
        assert record.forgiven == {}
        assert scope.refresh()[0].held == CENT

    with budget_scope(runtime=runtime, tenant="acme") as scope:
        tool()
        assert scope.refresh()[0].spent == CENT
    books.settle()


def test_the_slots_of_a_live_run_stay_taken_when_its_budget_is_reset(runtime, colour):
    with budget_scope(runtime=runtime, tenant="acme", run="r") as run:
        reset(colour, run, reason="new day", budget="day")
        with pytest.raises(BudgetExceeded, match="concurrent runs"):
            contextvars.Context().run(budget_scope(runtime=runtime, tenant="acme", run="r2").__enter__)


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reset_without_a_reason_is_refused(runtime, colour, reason):
    with budget_scope(runtime=runtime, max_cost=1) as scope, pytest.raises(InvalidInput, match="say why"):
        reset(colour, scope, reason=reason)


@pytest.mark.parametrize("budget", [None, "night", "~run"])
def test_what_is_not_over_the_scope_cannot_be_reset(runtime, colour, budget):
    with (
        budget_scope(runtime=runtime, max_cost=1),
        budget_scope(runtime=runtime, tenant="acme") as scope,
        pytest.raises(InvalidInput, match=r"no limits of its own|no such budget"),
    ):
        reset(colour, scope, reason="because", budget=budget)
