"""`costscope.testing.runtime`: books, a clock and outages for one test; nothing waits."""

from __future__ import annotations

import asyncio

import pytest
from stopwatch import Stopwatch

import costscope
from costscope import BudgetExceeded, StoreUnavailable, budget_scope, metered_tool, testing
from costscope.scope.runtime import services_of
from costscope.testing import ManualClock

HOURLY = {
    "budgets": [
        {
            "id": "hour",
            "match": {"tenant": "*"},
            "per": ["tenant"],
            "period": "hourly",
            "limits": {"cost": "1.00"},
        }
    ]
}


@metered_tool("search", price="0.60")
def search() -> str:
    return "found"


def test_it_is_the_default_runtime_inside_the_block_only():
    with testing.runtime() as outer:
        with testing.runtime() as inner:
            assert costscope.get_runtime() is inner.runtime
            with budget_scope(tenant="acme", max_cost="1.00"):
                search()
        assert costscope.get_runtime() is outer.runtime
        assert inner.store.snapshot().accounts
        assert not outer.store.snapshot().accounts
        with budget_scope(tenant="acme", max_cost="1.00") as scope:  # still open
            search()
            assert str(scope.spent) == "0.60"


def test_moving_the_clock_opens_the_next_window():
    with testing.runtime(HOURLY) as session, budget_scope(tenant="acme"):
        search()
        with pytest.raises(BudgetExceeded) as caught:
            search()
        session.clock.set(caught.value.resets_at)
        search()
        assert session.open_holds == 0


def test_an_outage_refuses_calls_and_loses_nothing():
    with testing.runtime(HOURLY) as session, budget_scope(tenant="acme") as scope:
        for applies in (False, True):
            with session.store.away(applies=applies), pytest.raises(StoreUnavailable):
                search()
            session.settle()
            assert session.open_holds == 0
        search()
        scope.refresh()
        assert str(scope.spent) == "0.60"


def test_what_an_outage_kept_back_is_sent_without_waiting():
    with testing.runtime(HOURLY) as session, budget_scope(tenant="acme"):
        with session.store.away():
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    search()
            with pytest.raises(AssertionError, match="3 settlements cannot be sent"):
                session.settle()
            services_of(session.runtime).outbox.drain(0.4)  # lets the pauses between attempts grow
        watch = Stopwatch()
        session.settle()
        assert watch.read() < 0.5
        assert not len(services_of(session.runtime).outbox)


def test_a_shared_clock_moves_both():
    clock = ManualClock()
    with testing.runtime(start=clock) as one, testing.runtime(start=clock) as other:
        one.clock.advance(5)
        assert services_of(other.runtime).now_ms() == clock() // 1_000_000


def test_it_works_in_an_event_loop():
    @metered_tool("asearch", price="0.60")
    async def asearch() -> None: ...

    async def main() -> int:
        with testing.runtime(HOURLY) as session:
            async with budget_scope(tenant="acme"):
                await asearch()
                with pytest.raises(BudgetExceeded):
                    await asearch()
            return session.open_holds

    assert asyncio.run(main()) == 0


def test_books_that_are_not_exact_fail_the_test():
    with pytest.raises(AssertionError, match="held = sum of live holds"):  # noqa: PT012, SIM117 - the block ends in it
        with testing.runtime(HOURLY) as session, budget_scope(tenant="acme"):
            search()
            book = next(iter(session.store.inner._ledger._books.values()))
            book.cells["cost"].held += 1
