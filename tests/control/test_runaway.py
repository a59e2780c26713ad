"""When a run seems out of control: each reason at its limit and not before, per run, told once, with its figures."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta

import pytest
from suspects import OFF, failing

from costscope import BudgetExceeded, RunHalted, budget_scope, metered_model, metered_tool
from costscope.scope.scope import state_of


def paying(runtime, colour):
    """A tool that costs what it is asked to."""
    return metered_tool("pay", estimate="10", usage=lambda cost: cost, runtime=runtime)(
        colour.define(lambda number, cost: cost)
    )


def reasons(told):
    return [event.reason for event in told]


# ------------------------------------------------------------------------------- failures in a row


def test_three_failures_in_a_row_by_default(watching, settle, colour):
    runtime, heard = watching()
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        fail(1)
        fail(2)
        assert heard() == []
        fail(3)
        with pytest.raises(RunHalted, match="3 calls failed one after the other"):
            fail(4)
    assert scope.summary().status == "halted"
    assert reasons(heard()) == ["failures"]
    settle(runtime)


def test_a_success_begins_the_count_anew(watching, colour):
    runtime, heard = watching()
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        for number in range(10):
            fail(3 * number)
            fail(3 * number + 1)
            fail(3 * number + 2, fails=False)
        assert heard() == []


def test_calls_of_any_name_and_kind_count(watching, colour):
    runtime, heard = watching(OFF | {"failures": 3})
    fail = failing(runtime, colour)

    def ask(text):
        raise ConnectionResetError

    asked = metered_model("m", price={"input": 1}, runtime=runtime)(colour.define(ask))
    with budget_scope(runtime=runtime, run="r-1"):
        fail(1)
        with pytest.raises(ConnectionResetError):
            colour.run(asked, "hi")
        assert heard() == []
        fail(2)
    assert reasons(heard()) == ["failures"]


def test_a_refused_call_inside_is_no_failure_and_no_success(watching, colour):
    """The budget did its work. The failures before it stand."""
    runtime, heard = watching(OFF | {"failures": 3}, budget={"limits": {"cost": "1"}})
    dear = metered_tool("dear", price="2", runtime=runtime)(lambda: None)
    fail = failing(runtime, colour)

    def body(text, max_tokens):
        dear()

    outer = metered_model("m", price={"input": 1, "output": 1}, runtime=runtime)(colour.define(body))
    with budget_scope(runtime=runtime, run="r-1"):
        fail(1)
        fail(2)
        for _ in range(3):
            with pytest.raises(BudgetExceeded):
                colour.run(outer, "hi", 10)
        assert heard() == []
        fail(3)
    assert reasons(heard()) == ["failures"]


def test_cancelled_calls_are_no_failures(watching):
    runtime, heard = watching(OFF | {"failures": 1})

    @metered_tool("t", price="0.01", runtime=runtime)
    async def tool(began):
        began.set()
        await asyncio.sleep(60)

    async def main():
        with budget_scope(runtime=runtime, run="r-1"):
            began = asyncio.Event()
            task = asyncio.create_task(tool(began))
            await began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert heard() == []


def test_a_stream_that_breaks_is_a_failure(watching, colour):
    runtime, heard = watching(OFF | {"failures": 2})

    def stream(number):
        yield number
        raise ConnectionResetError

    broken = metered_tool("s", price="0.01", runtime=runtime)(colour.define(stream))

    async def adrain(number):
        return [item async for item in broken(number)]

    def drain(number):
        return list(broken(number))

    with budget_scope(runtime=runtime, run="r-1"):
        for number in range(2):
            with pytest.raises(ConnectionResetError):
                colour.run(drain if colour.name == "sync" else adrain, number)
    assert reasons(heard()) == ["failures"]


# ------------------------------------------------------------------------- the same call repeated


def test_ten_times_the_same_call_by_default(watching, settle, colour):
    runtime, heard = watching()
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda text, **_: text))
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(9):
            colour.run(tool, "again", limit=5)
        assert heard() == []
        colour.run(tool, "again", limit=5)
        with pytest.raises(RunHalted, match="the same call was made 10 times within 32 calls"):
            colour.run(tool, "again", limit=5)
    assert reasons(heard()) == ["repeats"]
    settle(runtime)


def test_other_arguments_and_other_names_are_other_calls(watching, colour):
    runtime, heard = watching(OFF | {"repeats": 3})
    tools = [
        metered_tool(name, price="0.01", runtime=runtime)(colour.define(lambda text, **_: text))
        for name in ("a", "b")
    ]
    with budget_scope(runtime=runtime, run="r-1"):
        for tool in tools:
            for _ in range(2):
                colour.run(tool, "same")
                colour.run(tool, "other")
                colour.run(tool, "same", limit=5)
                colour.run(tool, ["same"])
        for number in range(40):
            colour.run(tools[0], number)
    assert heard() == []


def test_models_are_names(watching, colour):
    runtime, heard = watching(OFF | {"repeats": 3})
    ask = metered_model(price={"input": 1}, usage=lambda _: (1, 0), runtime=runtime)(
        colour.define(lambda text, model: text)
    )
    with budget_scope(runtime=runtime, run="r-1"):
        for model in ("m1", "m2", "m1", "m2"):
            colour.run(ask, "hi", model=model)
        assert heard() == []
        colour.run(ask, "hi", model="m1")
    assert reasons(heard()) == ["repeats"]


def test_a_loop_over_several_calls_is_found_and_slow_repetition_is_none(watching, colour):
    """Four different calls in a circle come up 8 times in 32, one in eight does 4 times."""
    runtime, heard = watching(OFF | {"repeats": 8})
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda text: text))
    with budget_scope(runtime=runtime, run="slow"):
        for number in range(160):
            colour.run(tool, "same" if number % 8 == 0 else number)
    assert heard() == []
    with budget_scope(runtime=runtime, run="loop"), contextlib.suppress(RunHalted):
        for number in range(160):
            colour.run(tool, number % 4)
    assert [(event.run, event.reason) for event in heard()] == [("loop", "repeats")]


def test_what_cannot_be_compared_is_no_repetition(watching, colour):
    """An object's content is unknown: calls that only look alike must not halt a run."""
    runtime, heard = watching(OFF | {"repeats": 2})
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda thing: thing))
    thing = object()
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(5):
            colour.run(tool, thing)
    assert heard() == []


# ------------------------------------------------------------------------------------- burn rate


def work(scope, passing, pay, calls, *, every_s, cost="0.01", first=0):
    for number in range(calls):
        passing(scope, every_s)
        pay(first + number, cost)


@pytest.mark.parametrize(("every_s", "cost"), [(12, "0.014"), (8, "0.01")], ids=["dearer", "faster"])
def test_twice_its_own_cost_per_minute_by_default(every_s, cost, watching, passing, settle, colour):
    """Half an hour of 3 cents a minute, then 7 or more."""
    runtime, heard = watching()
    tool = paying(runtime, colour)

    def pay(number, cost):
        colour.run(tool, number, cost)

    with budget_scope(runtime=runtime, run="r-1") as scope:
        work(scope, passing, pay, 80, every_s=20)
        assert heard() == []
        with pytest.raises(RunHalted, match=r"its cost per minute has been 2[.][0-9] times its baseline"):
            work(scope, passing, pay, 75, every_s=every_s, cost=cost, first=100)
    (event,) = heard()
    assert (event.reason, event.allowed) == ("burn_rate", 2)
    assert 2 < event.measured < 60 / every_s * float(cost) / 0.03
    settle(runtime)


def test_a_run_that_is_dear_all_the_time_is_none(watching, passing, colour):
    runtime, heard = watching()
    tool = paying(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 150, every_s=10, cost="5")
    assert heard() == []


def test_below_twice_its_baseline_is_none(watching, passing, colour):
    runtime, heard = watching()
    tool = paying(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 80, every_s=20)
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 60, every_s=10.5, first=100)
    assert heard() == []


def test_the_first_minutes_of_a_run_are_its_baseline_and_nothing_is_said_about_them(
    watching, passing, colour
):
    """However steep: a plan is cheap, and the work after it is not."""
    runtime, heard = watching()
    tool = paying(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 30, every_s=10, cost="0.01")
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 80, every_s=10, cost="1", first=100)
    assert heard() == []


def test_a_pause_is_no_cheap_work(watching, passing, colour):
    """Two hours of waiting for a person, then on as before."""
    runtime, heard = watching()
    tool = paying(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 60, every_s=20)
        passing(scope, 7200)
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 60, every_s=20, first=100)
    assert heard() == []


def test_one_dear_call_is_no_rate(watching, passing, colour):
    """It may cost a hundred times as much as the others, and so may two within a few minutes."""
    runtime, heard = watching()
    tool = paying(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 80, every_s=20)
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 1, every_s=20, cost="1", first=100)
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 30, every_s=20, first=200)
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 2, every_s=60, cost="1", first=300)
        work(scope, passing, lambda n, c: colour.run(tool, n, c), 30, every_s=20, first=400)
    assert heard() == []


# ------------------------------------------------------------------------------ one run, and once


def test_another_run_is_left_alone_and_counted_by_itself(watching, colour):
    runtime, heard = watching()
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="good"):
        fail(1)
        fail(2)
    with budget_scope(runtime=runtime, run="bad"), contextlib.suppress(RunHalted):
        for number in range(5):
            fail(number)
    with budget_scope(runtime=runtime, run="other") as scope:
        fail(3)
        fail(4)
        fail(5, fails=False)
        assert state_of(scope).run.goes_on
    assert [(event.run, event.reason) for event in heard()] == [("bad", "failures")]


def test_two_runs_that_are_open_at_once_do_not_count_together(watching, colour):
    runtime, heard = watching()
    fail = failing(runtime, colour)
    contexts = [copy_context(), copy_context()]
    openers = [budget_scope(runtime=runtime, run=f"r-{at}") for at in range(2)]
    for context, opener in zip(contexts, openers, strict=True):
        context.run(opener.__enter__)
    for number in range(4):
        contexts[number % 2].run(fail, number)
    assert heard() == []
    contexts[0].run(fail, 9)
    for context, opener in zip(contexts, openers, strict=True):
        context.run(opener.__exit__, None, None, None)
    assert [event.run for event in heard()] == ["r-0"]


def test_scopes_that_join_the_run_in_this_process_count_with_it(watching, colour):
    """An agent that opens a scope for every step is one run."""
    runtime, heard = watching()
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        for number in range(3):
            Context().run(_step, runtime, fail, number)
        assert reasons(heard()) == ["failures"]
        with pytest.raises(RunHalted):
            fail(3)
    assert reasons(heard()) == ["failures"]


def _step(runtime, fail, number):
    with budget_scope(runtime=runtime, run="r-1", join_run=True):
        fail(number)


def test_calls_outside_of_runs_are_not_watched(watching, colour):
    runtime, heard = watching()
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, tenant="acme"):
        for number in range(10):
            fail(number)
    assert heard() == []


def test_only_runs_that_match_are_watched(watching, colour):
    runtime, heard = watching({"match": {"tenant": "acme"}})
    fail = failing(runtime, colour)
    for tenant in ("other", "acme"):
        with budget_scope(runtime=runtime, tenant=tenant, run="r-1"), contextlib.suppress(RunHalted):
            for number in range(5):
                fail(number)
    assert [event.labels["tenant"] for event in heard()] == ["acme"]


def test_a_detector_that_is_switched_off_finds_nothing(watching, colour):
    runtime, heard = watching(OFF | {"repeats": 30})
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(20):
            fail("same")
    assert heard() == []


def test_each_reason_is_told_once_in_a_run(watching, colour):
    runtime, heard = watching({"failures": 2, "repeats": 4, "actions": ["callback"]})
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1"):
        for _ in range(20):
            fail("same")
            fail("same")
            fail("same", fails=False)
    assert reasons(heard()) == ["failures", "repeats"]


def test_by_several_threads_as_well(watching):
    runtime, heard = watching({"failures": 5, "actions": ["callback"]})

    @metered_tool("t", price="0.01", runtime=runtime)
    def tool(number):
        raise ValueError(number)

    def fail(number):
        with contextlib.suppress(ValueError):
            tool(number)

    with budget_scope(runtime=runtime, run="r-1"), ThreadPoolExecutor(8) as pool:
        contexts = [copy_context() for _ in range(200)]
        list(pool.map(lambda at: contexts[at].run(fail, at), range(200)))
    assert reasons(heard()) == ["failures"]


def test_after_a_reset_the_run_is_watched_anew(watching, colour):
    runtime, heard = watching(budget={"constraints": {"cost": "5"}})
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, run="r-1") as scope:
        for number in range(3):
            fail(number)
        heard()
        with pytest.raises(RunHalted):
            fail(3)
        scope.reset(reason="the service is back")
        fail(4)
        fail(5)
        assert len(heard()) == 1
        fail(6)
    assert reasons(heard()) == ["failures", "failures"]


def test_every_field_of_the_record_is_right(watching, colour):
    runtime, heard = watching({"failures": 2, "actions": ["callback", "halt_run"]})
    fail = failing(runtime, colour)
    with budget_scope(runtime=runtime, tenant="acme", agent="a", run="r-1"):
        fail(1)
        fail(2)
    (event,) = heard()
    assert event.labels == {"tenant": "acme", "agent": "a", "run": "r-1"}
    assert (event.run, event.reason, event.measured, event.allowed) == ("r-1", "failures", 2, 2)
    assert event.detail == "2 calls failed one after the other (allowed below 2)"
    assert event.actions == ("callback", "halt_run")
    assert abs(event.at - datetime.now(UTC)) < timedelta(minutes=1)
