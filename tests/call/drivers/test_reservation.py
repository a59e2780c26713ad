"""`costscope.reserve(...)`: two phases without a decorator."""

from __future__ import annotations

import asyncio
import gc

import pytest

import costscope
from costscope import (
    BudgetExceeded,
    CallUnscoped,
    HoldClosed,
    InvalidInput,
    InvalidUsage,
    ModelUnpriced,
    NotBilled,
    Usage,
    budget_scope,
)
from costscope.scope.runtime import services_of

PRICE = {"input": "1", "output": "2"}


@pytest.fixture
def reserve(runtime, colour):
    """Enters a reservation in either colour and runs a body in it."""

    def run(body=lambda hold: None, **options):
        given = (
            {"runtime": runtime}
            | ({"model": "m", "price": PRICE, "input_tokens": 10} if not options else {})
            | options
        )
        if colour.name == "sync":
            with costscope.reserve(**given) as hold:
                body(hold)
            return hold

        async def enter():
            async with costscope.reserve(**given) as hold:
                body(hold)
            return hold

        return colour.run(enter)

    with budget_scope(runtime=runtime):
        yield run


@pytest.mark.parametrize(
    "usage",
    [
        Usage(10, 5),
        (10, 5),
        {"input_tokens": 10, "output_tokens": 5},
        {"usage": {"prompt_tokens": 10, "completion_tokens": 5}},
    ],
)
def test_commit_settles_with_what_it_really_took(usage, reserve, books):
    hold = reserve(
        lambda hold: hold.commit(usage), model="m", price=PRICE, input_text="hello", max_output_tokens=300
    )
    assert hold.held["output_tokens"] == 300
    assert books.spent() == 10 * 1000 + 5 * 2000
    assert books.spent("tokens") == 15
    assert books.spent("model_calls") == 1
    books.settle()


@pytest.mark.parametrize(
    "commit", [lambda hold: hold.commit(), lambda hold: None], ids=["commit()", "nothing"]
)
def test_without_usage_the_hold_is_charged(commit, reserve, books):
    reserve(commit, model="m", price=PRICE, input_tokens=100, max_output_tokens=50)
    assert books.spent() == 100 * 1000 + 50 * 2000
    books.settle()


def test_release_gives_everything_back(reserve, books):
    reserve(lambda hold: hold.release(), model="m", price="0.05")
    counters = books.counters()
    assert (counters.spent, counters.released) == (0, 50_000_000)
    assert books.spent("model_calls") == 0
    books.settle()


@pytest.mark.parametrize(
    ("error", "spent"),
    [(NotBilled, 0), (ConnectionRefusedError, 0), (ValueError, 50_000_000), (TimeoutError, 50_000_000)],
)
def test_an_exception_inside_decides_by_whether_it_was_billed(error, spent, reserve, books):
    def fail(hold):
        raise error

    with pytest.raises(error):
        reserve(fail, model="m", price="0.05")
    assert books.spent() == spent
    books.settle()


def test_what_was_committed_before_an_exception_stands(reserve, books):
    def fail(hold):
        hold.commit(Usage(10, 5))
        raise NotBilled

    with pytest.raises(NotBilled):
        reserve(fail, model="m", price=PRICE, input_tokens=100, max_output_tokens=50)
    assert books.spent() == 20_000
    books.settle()


@pytest.mark.parametrize("first", ["commit", "release"])
@pytest.mark.parametrize("second", ["commit", "release"])
def test_a_hold_is_settled_once(first, second, reserve, books):
    def twice(hold):
        getattr(hold, first)()
        with pytest.raises(HoldClosed, match="settled already"):
            getattr(hold, second)()

    reserve(twice, tool="t", price="0.05")
    assert books.spent() == (50_000_000 if first == "commit" else 0)
    books.settle()


def test_usage_that_cannot_be_believed_leaves_the_hold_to_another_commit(reserve, books):
    def commit(hold):
        with pytest.raises(InvalidUsage):
            hold.commit({"input_tokens": -1, "output_tokens": 5})
        hold.commit(Usage(1, 1))

    reserve(commit, model="m", price=PRICE, input_tokens=100, max_output_tokens=50)
    assert books.spent() == 3_000
    books.settle()


def test_a_tool_commits_an_amount(reserve, books):
    reserve(lambda hold: hold.commit("0.02"), tool="t", price="0.05")
    assert (books.spent(), books.spent("tool_calls")) == (20_000_000, 1)
    reserve(lambda hold: hold.commit("0.07"), tool="t", price="0.05")
    assert books.counters().overrun == 20_000_000, "a commit is a fact, also above the hold"
    books.settle()


def test_a_refusal_holds_nothing_and_may_be_tried_again(runtime, books, colour):
    hold = costscope.reserve(tool="t", price="0.05", runtime=runtime)

    def enter():
        with hold:
            pass

    async def aenter():
        async with hold:
            pass

    with budget_scope(runtime=runtime, max_cost="0.05"):
        with costscope.reserve(tool="t", price="0.01", runtime=runtime) as other:
            with pytest.raises(BudgetExceeded) as refusal:
                colour.run(enter if colour.name == "sync" else aenter)
            assert (refusal.value.kind, refusal.value.held) == ("in_flight", 10_000_000)
            assert refusal.value.retry_after is not None
            other.release()
        assert services_of(runtime).outbox.drain(30)
        colour.run(enter if colour.name == "sync" else aenter)
    assert books.spent() == 50_000_000
    books.settle()


def test_the_cap_to_call_the_model_with(reserve):
    assert reserve(model="m", price=PRICE, input_tokens=1, max_output_tokens=7).max_tokens == 7
    assert reserve(model="m", price=PRICE, input_tokens=1).max_tokens == 4096, "a call without a cap gets one"
    assert reserve(tool="t").max_tokens is None


def test_capped_takes_what_is_left(runtime, colour):
    with budget_scope(runtime=runtime, max_cost="0.001") as scope:
        with costscope.reserve(
            model="m",
            price={"input": "1", "output": "10"},
            input_tokens=10,
            max_output_tokens=5000,
            estimate="capped",
            runtime=runtime,
        ) as hold:
            assert hold.max_tokens == 99, "(1,000,000 - 10 x 1000) / 10,000"
            hold.commit(Usage(10, 99))
        scope.refresh()
        assert scope.remaining == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "m", "tool": "t"},
        {"model": "m", "input_tokens": -1, "price": "1"},
        {"tool": "t", "estimate": "lots"},
    ],
)
def test_a_reservation_of_nothing_in_particular_is_refused(options, runtime):
    with budget_scope(runtime=runtime), pytest.raises(InvalidInput):
        costscope.reserve(runtime=runtime, **options)


def test_an_unknown_model_is_refused(runtime):
    with budget_scope(runtime=runtime), pytest.raises(ModelUnpriced):
        costscope.reserve(model="no-such-model", runtime=runtime)


def test_outside_every_scope_it_is_refused(runtime):
    with pytest.raises(CallUnscoped), costscope.reserve(tool="t", runtime=runtime):
        raise AssertionError


def test_it_is_entered_once(reserve, runtime):
    hold = reserve(tool="t")
    with pytest.raises(RuntimeError, match="entered already"):
        hold.__enter__()
    with pytest.raises(RuntimeError, match="enter the reservation first"):
        costscope.reserve(tool="t", runtime=runtime).commit()


def test_one_that_is_never_left_is_charged_when_it_is_collected(runtime, books):
    with budget_scope(runtime=runtime):
        costscope.reserve(tool="t", price="0.05", runtime=runtime).__enter__()
    gc.collect()
    assert books.spent() == 50_000_000
    books.settle()


def test_one_that_was_never_entered_costs_nothing(runtime, books):
    with budget_scope(runtime=runtime):
        costscope.reserve(tool="t", price="0.05", runtime=runtime)
    gc.collect()
    assert books.accounts() == set()


def test_the_key_of_a_redelivered_task(reserve, books):
    for _ in range(3):
        reserve(lambda hold: hold.commit("0.02"), tool="t", price="0.05", idempotency_key="job-1")
    assert books.spent() == 20_000_000
    books.settle()


def test_reservations_overlap_in_any_order(runtime, books):
    """Frameworks open in one callback and close in another, not like brackets."""

    async def main():
        with budget_scope(runtime=runtime):
            holds = [costscope.reserve(tool=f"t{n}", price="0.01", runtime=runtime) for n in range(20)]
            for hold in holds:
                await hold.__aenter__()
            assert len(books.snapshot().holds) == 20
            for hold in holds[::2] + holds[1::2]:
                await hold.__aexit__(None, None, None)
        await runtime.store.aclose()

    asyncio.run(main())
    assert books.spent() == 20 * 10_000_000
    books.settle()
