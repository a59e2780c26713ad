"""Turns of a run's loop are counted before they are made, over all processes of the run."""

from __future__ import annotations

import asyncio
import gc

import pytest
from monitoring import Monitor
from until import until

from costscope import BudgetExceeded, RunHalted, Runtime, StoreUnavailable, budget_scope
from costscope.scope.runtime import services_of
from costscope.testing.outage import OutageStore
from costscope_valkey.codec import source_of
from costscope_valkey.link import Script

CONSTRAINED = {"budgets": [{"id": "runs", "constraints": {"iterations": 3}}]}
BUDGETED = {"budgets": [{"id": "turns", "limits": {"iterations": 3}}]}


@pytest.fixture(params=["inline", "constraint", "budget"])
def limited(request, make_runtime):
    """What opens a run of three turns, and the budget that counts them."""
    if request.param == "inline":
        runtime = make_runtime(policy=None)
        return runtime, lambda: budget_scope(runtime=runtime, run="r-1", max_iterations=3), "~scope"
    runtime = make_runtime(policy=CONSTRAINED if request.param == "constraint" else BUDGETED)
    counts = "~run" if request.param == "constraint" else "turns"
    return runtime, lambda: budget_scope(runtime=runtime, run="r-1"), counts


def counted(runtime, budget):
    assert services_of(runtime).outbox.drain(20)
    (found,) = [a for a in runtime.store.snapshot().accounts if a.key.startswith(f"{budget}/")]
    return found.meters["iterations"].spent, found.meters["iterations"].held


def loop(colour, run, until_turn=None, error=None):
    """The turns of a loop that is left at one of them; whether it ran out."""
    turns = []

    async def around() -> bool:
        async for turn in run.iterations():
            turns.append(turn)
            if turn == until_turn:
                if error is not None:
                    raise error
                break
        else:
            return True
        return False

    def plain() -> bool:
        for turn in run.iterations():
            turns.append(turn)
            if turn == until_turn:
                if error is not None:
                    raise error
                break
        else:
            return True
        return False

    return (colour.run(around) if colour.name == "async" else plain()), turns


def test_a_loop_ends_when_no_turn_is_left(limited, colour):
    runtime, opens, budget = limited
    with opens() as run:
        assert loop(colour, run) == (True, [1, 2, 3])
        assert counted(runtime, budget) == (3, 0)
        assert loop(colour, run) == (True, [])
        assert run.summary().iterations == 3
    assert runtime.audit().exact
    assert runtime.store.snapshot().holds == ()


def test_a_loop_that_is_left_has_made_the_turn_it_was_left_in(limited, colour):
    runtime, opens, budget = limited
    with opens() as run:
        assert loop(colour, run, until_turn=2) == (False, [1, 2])
        until(lambda: counted(runtime, budget) == (2, 0))
    assert runtime.store.snapshot().holds == ()


def test_a_turn_that_fails_was_made(limited, colour):
    runtime, opens, budget = limited
    with opens() as run:
        with pytest.raises(ValueError, match=r"^broken$"):
            loop(colour, run, until_turn=1, error=ValueError("broken"))
        gc.collect()
        until(lambda: counted(runtime, budget) == (1, 0))
        assert loop(colour, run) == (True, [1, 2])
    assert runtime.audit().exact


def one(colour, run, error=None) -> None:
    async def around() -> None:
        async with run.iteration():
            if error is not None:
                raise error

    def plain() -> None:
        with run.iteration():
            if error is not None:
                raise error

    colour.run(around) if colour.name == "async" else plain()


def test_a_single_turn_too_many_is_refused(limited, colour):
    runtime, opens, budget = limited
    told = []
    runtime.events.on("denied", told.append)
    with opens() as run:
        one(colour, run)
        with pytest.raises(ValueError, match=r"^broken$"):
            one(colour, run, ValueError("broken"))
        one(colour, run)
        with pytest.raises(BudgetExceeded, match="iteration: ") as refused:
            one(colour, run)
    assert (refused.value.kind, refused.value.meter, refused.value.limit) == ("exhausted", "iterations", 3)
    assert refused.value.budget == budget
    assert [(event.what, event.name, event.kind) for event in told] == [("iteration", "r-1", "exhausted")]
    assert counted(runtime, budget) == (3, 0)


def test_turns_in_one_another_count_each(limited, colour):
    runtime, opens, budget = limited
    with opens() as run:
        with run.iteration():
            one(colour, run)
        assert counted(runtime, budget) == (2, 0)


def test_without_a_limit_turns_are_numbered_and_cost_nothing(make_runtime, colour):
    runtime = make_runtime(policy=None)
    with budget_scope(runtime=runtime, run="r-1") as run:
        assert loop(colour, run, until_turn=50)[1] == list(range(1, 51))
        assert run.summary().iterations == 50
    assert runtime.store.snapshot().accounts == ()


def test_a_halted_run_makes_no_further_turn(limited, colour):
    _, opens, _ = limited
    with opens() as run:
        one(colour, run)
        run.halt("enough")
        with pytest.raises(RunHalted, match="enough"):
            one(colour, run)
        with pytest.raises(RunHalted, match="enough"):
            loop(colour, run)


def test_halted_in_the_middle_of_a_loop_the_turn_before_is_counted(limited):
    runtime, opens, budget = limited
    with opens() as run:
        turns = iter(run.iterations())
        next(turns)
        run.halt("enough")
        with pytest.raises(RunHalted):
            next(turns)
        until(lambda: counted(runtime, budget) == (1, 0))


def test_a_turn_while_the_store_is_away(make_store, make_runtime, colour):
    store = OutageStore(make_store())
    for on_outage in ("closed", "open"):
        budget = {"id": f"t-{on_outage}", "limits": {"iterations": 3}, "on_outage": on_outage}
        runtime = make_runtime(store=store, policy={"budgets": [budget]})
        with budget_scope(runtime=runtime, run=on_outage) as run:
            for turn in run.iterations():
                if turn == 2:
                    break
            with store.away():
                if on_outage == "closed":
                    with pytest.raises(StoreUnavailable):
                        one(colour, run)
                else:
                    one(colour, run)
        until(lambda runtime=runtime: len(services_of(runtime).outbox) == 0)
    snapshot = store.snapshot()
    assert snapshot.holds == ()
    assert store.audit().exact
    for account in snapshot.accounts:
        if account.key.startswith("t-"):
            assert account.meters["iterations"].spent == 2


def test_an_async_loop_that_is_cancelled_has_made_its_turn(make_runtime):
    runtime = make_runtime(policy=CONSTRAINED)

    async def main() -> None:
        inside = asyncio.Event()

        async def agent() -> None:
            async with budget_scope(runtime=runtime, run="r-1") as run:
                async for _ in run.iterations():
                    inside.set()
                    await asyncio.sleep(60)

        task = asyncio.create_task(agent())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await runtime.store.aclose()

    asyncio.run(main())
    gc.collect()
    until(lambda: counted(runtime, "~run") == (1, 0))


def test_the_processes_of_a_run_share_its_turns(make_agent):
    policy = {"budgets": [{"id": "runs", "constraints": {"iterations": 10}}]}
    first = make_agent(policy)
    others = [make_agent(policy) for _ in range(2)]
    assert first.do("open", {"run": "r-1"}) == "ok"
    for other in others:
        assert other.do("open", {"run": "r-1"}, {"join_run": True}) == "ok"
    agents = [first, *others]
    said = []
    for _ in range(5):
        for agent in agents:
            agent.tell("iterate")
        said += [agent.hears() for agent in agents]
    assert said.count("ok") == 10
    assert set(said) <= {"ok", "exhausted ~run iterations", "in_flight ~run iterations"}


@pytest.mark.parametrize("turns", [5])
def test_a_loop_of_n_turns_is_n_and_one_requests_a_single_turn_two(valkey_server, patient_url, colour, turns):
    ledger = Script(source_of("ledger")).sha
    with Runtime(
        store=patient_url, policy={"budgets": [{"id": "runs", "constraints": {"iterations": turns}}]}
    ) as runtime:
        with budget_scope(runtime=runtime, run="r-1") as run:
            one(colour, run)
        with budget_scope(runtime=runtime, run="r-2") as run, Monitor(valkey_server, patient_url) as monitor:
            assert loop(colour, run) == (True, list(range(1, turns + 1)))
            assert sum(ledger in words for words in monitor.commands()) == turns + 1
        with budget_scope(runtime=runtime, run="r-3") as run, Monitor(valkey_server, patient_url) as monitor:
            one(colour, run)
            assert sum(ledger in words for words in monitor.commands()) == 2
