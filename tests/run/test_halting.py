"""`scope.halt(reason)` stops a run in every process that works in it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from opened_runs import OpenedRuns, make_current

from costscope import InvalidInput, RunHalted, bind_scope, budget_scope, metered_tool
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of

ELSEWHERE = "halted: another process, or an earlier one, ordered it to stop"
POLICIES = {
    "money only": ({"budgets": [{"id": "all", "limits": {"cost": "1"}}]}, {}),
    "constraints": ({"budgets": [{"id": "runs", "constraints": {"iterations": 100}}]}, {}),
    "inline only": ({}, {"max_cost": "1"}),
    "places": ({"budgets": [{"id": "p", "limits": {"concurrent_runs": 5}}]}, {}),
    "clock": ({}, {"max_wall_clock": "1h"}),
}


@pytest.fixture(params=sorted(POLICIES))
def three(request, make_agent):
    """Three processes in one run, which the first one has opened."""
    policy, limits = POLICIES[request.param]
    agents = [make_agent(policy) for _ in range(3)]
    assert agents[0].do("open", {"run": "r-1"}, limits) == "ok"
    for agent in agents[1:]:
        assert agent.do("open", {"run": "r-1"}, {**limits, "join_run": True}) == "ok"
    return agents, limits


def test_a_halted_run_makes_no_call_in_any_process(three):
    (first, second, third), limits = three
    assert [agent.do("call") for agent in (first, second, third)] == ["ok"] * 3
    assert second.do("halt", "the operator says so") == "ok"
    assert second.do("call") == "halted: the operator says so"
    assert first.do("call") == third.do("iterate") == ELSEWHERE
    assert [agent.do("leave") for agent in (first, second, third)] == ["halted"] * 3
    assert third.do("open", {"run": "r-1"}, limits) == ELSEWHERE
    assert third.do("open", {"run": "r-2"}, limits) == "ok"
    assert third.do("call") == "ok"


@pytest.fixture
def halt(runtime, colour):
    def order(scope, reason) -> None:
        if colour.name == "async":
            colour.run(scope.ahalt, reason)
        else:
            scope.halt(reason)

    return order


def test_a_halted_run_makes_no_call_and_no_turn_in_any_thread(runtime, halt, colour):
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: None))
    opened = OpenedRuns(runtime, colour)
    opener, run = opened.enter(run="r-1")
    make_current(run)
    with budget_scope(runtime=runtime, agent="w") as inner, ThreadPoolExecutor(1) as pool:
        colour.run(tool)
        halt(inner, "enough")
        halt(inner, "said twice")
        call = bind_scope(lambda: colour.run(tool))
        for stopped in (call, run.iteration().__enter__, lambda: pool.submit(call).result()):
            with pytest.raises(RunHalted, match="run r-1 was halted: enough") as halted:
                stopped()
            assert (halted.value.run, halted.value.reason, halted.value.kind) == ("r-1", "enough", "halted")
    opened.leave(opener)
    assert (run.summary().status, state_of(run).run.reason) == ("halted", "enough")
    with budget_scope(runtime=runtime, run="r-2"):
        colour.run(tool)


def test_two_scopes_of_one_run_in_one_process_are_halted_together(runtime, halt, colour):
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: None))
    opened = OpenedRuns(runtime, colour)
    opener, one = opened.enter(run="r-1")
    with budget_scope(runtime=runtime, run="r-1", join_run=True):
        colour.run(tool)
        halt(one, "enough")
        with pytest.raises(RunHalted, match="another process, or an earlier one, ordered it to stop"):
            colour.run(tool)
    opened.leave(opener)


@pytest.mark.parametrize(("given", "said"), [({"run": "r-1"}, "say why"), ({"team": "a"}, "is in no run")])
def test_there_must_be_a_run_and_a_reason(runtime, given, said):
    with budget_scope(runtime=runtime, **given) as scope, pytest.raises(InvalidInput, match=said):
        scope.halt("" if "run" in given else "enough")


def test_a_run_without_books_is_halted_here_and_says_so(make_runtime, halt, colour, caplog):
    runtime = make_runtime(policy={})
    tool = metered_tool("t", price="0.01", runtime=runtime)(colour.define(lambda: None))
    with budget_scope(runtime=runtime, run="r-1") as run, caplog.at_level(logging.WARNING, "costscope"):
        halt(run, "enough")
        with pytest.raises(RunHalted, match="enough"):
            colour.run(tool)
    assert "halted in this process only: no budget covers it" in caplog.text


def test_cancelled_while_it_gives_the_order_it_has_given_it(make_runtime, make_store):
    runtime = make_runtime()

    async def main() -> None:
        async with budget_scope(runtime=runtime, run="r-1") as run:
            task = asyncio.create_task(run.ahalt("enough"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait((task,))
        await runtime.store.aclose()

    asyncio.run(main())
    assert services_of(runtime).outbox.drain(20)
    with pytest.raises(RunHalted), budget_scope(runtime=runtime, run="r-1"):
        pass
