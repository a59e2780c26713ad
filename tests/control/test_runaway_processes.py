"""A run in which several processes work: what they do together is counted, none of them having seen enough by itself."""

from __future__ import annotations

import logging
import multiprocessing

import pytest
from passing_time import OnTheServer
from route_workers import fail_together, repeat_together
from running import Sync, open_url
from suspects import OFF, failing

from costscope import RunHalted, Runtime, StoreUnavailable, budget_scope, metered_tool

RUN = {"tenant": "acme", "run": "r-1"}


def policy(rule, **more):
    return {"budgets": [{"id": "all", "limits": {"cost": "1000"}}], "runaway": OFF | rule} | more


@pytest.fixture
def four(make_agent):
    """Four processes in one run."""

    def make(rule, **more):
        agents = [make_agent(policy(rule, **more)) for _ in range(4)]
        for at, agent in enumerate(agents):
            assert agent.do("open", RUN, {"join_run": at > 0}) == "ok"
        return agents

    return make


def heard(agents):
    return [reason for agent in agents for reason in agent.do("suspected")]


def test_failures_of_four_processes_are_counted_together(four):
    """One in each: the fourth halts the run for all of them."""
    agents = four({"failures": 4})
    for at, agent in enumerate(agents):
        assert agent.do("call" if at == 0 else "fail", *([at] * (at > 0))) == "ok"
    assert heard(agents) == []
    assert agents[0].do("fail", 0) == "ok"
    said = [agent.do("call") for agent in agents]
    assert "4 calls failed one after the other" in said[0]
    assert all(answer.startswith("halted: ") for answer in said)
    assert heard(agents) == ["failures"]


def test_three_failures_in_three_processes_halt_a_fourth_that_has_seen_none(four):
    agents = four({"failures": 3})
    for at, agent in enumerate(agents[:3]):
        assert agent.do("fail", at) == "ok"
    assert agents[3].do("call").startswith("halted: ")
    assert heard(agents) == ["failures"]


def test_a_success_in_any_process_begins_the_count_anew(four):
    agents = four({"failures": 3})
    for _ in range(3):
        assert [agent.do("fail", 1) for agent in agents[:2]] == ["ok", "ok"]
        assert agents[2].do("ask", "hi") == "big"
    assert heard(agents) == []
    assert agents[3].do("call") == "ok"


def test_the_same_call_of_four_processes_is_counted_together(four):
    """Two in each, and other calls in between: no process knows of more than two."""
    agents = four({"repeats": 8})
    for turn in range(2):
        for at, agent in enumerate(agents):
            assert agent.do("ask", f"{turn} {at}") == "big"
            if (turn, at) != (1, 3):
                assert agent.do("ask", "again") == "big"
    assert heard(agents) == []
    assert agents[3].do("ask", "again") == "big"
    said = [agent.do("ask", "something else") for agent in agents]
    assert all(answer.startswith("halted: ") for answer in said)
    assert heard(agents) == ["repeats"]


def test_what_four_processes_spend_is_one_burn_rate(four, patient_url, valkey_server):
    """Each makes every fourth call; the run as a whole is what speeds up, by one of them."""
    agents = four({"burn_rate": 2})
    with Runtime(store=open_url(patient_url), policy=policy({"burn_rate": 2})) as runtime:
        passing = OnTheServer(valkey_server, patient_url)
        with budget_scope(runtime=runtime, join_run=True, **RUN) as scope:
            for number in range(80):
                passing(scope, 20)
                assert agents[number % 4].do("ask", f"{number}") == "big"
            assert heard(agents) == []
            said = "big"
            for number in range(80, 130):
                passing(scope, 12)
                said = agents[number % 4].do("ask", f"{number}", 30_000)
                if said != "big":
                    break
            assert said.startswith("halted: ")
        runtime.store.close()
    assert heard(agents) == ["burn_rate"]
    assert 80 + 10 < number < 80 + 40


def test_what_is_not_a_halt_is_in_force_in_every_process_from_its_second_call_on(four):
    """It hears of it with the end of its next call: no call waits for that."""
    agents = four({"failures": 3, "actions": [{"downgrade_model": "small"}]}, prices=PRICES)
    for at, agent in enumerate(agents[:3]):
        assert agent.do("fail", at) == "ok"
    assert [agents[3].do("ask", f"{at}") for at in range(2)] == ["big", "small"]
    assert agents[2].do("ask", "it knew at once") == "small"
    assert heard(agents) == ["failures"]


PRICES = {"models": {"big": {"input": "1", "output": "10"}, "small": {"input": "1", "output": "1"}}}


def test_who_joins_later_is_not_told_again(four, make_agent):
    rule = {"failures": 3, "actions": ["callback"]}
    agents = four(rule)
    for at, agent in enumerate(agents[:3]):
        assert agent.do("fail", at) == "ok"
    late = make_agent(policy(rule))
    assert late.do("open", RUN, {"join_run": True}) == "ok"
    for at in range(5):
        assert late.do("fail", at) == "ok"
    assert heard([*agents, late]) == ["failures"]


@pytest.mark.parametrize(
    ("work", "reason"), [(fail_together, "failures"), (repeat_together, "repeats")], ids=["fail", "repeat"]
)
def test_four_processes_at_once_tell_it_once_and_soon_stop(work, reason, patient_url):
    """Each would make 500 calls, in any order."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    rule = OFF | {reason: 10}
    processes = [
        context.Process(target=work, args=(patient_url, policy(rule), barrier, results, at))
        for at in range(4)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert [each for _, told in found for each in told] == [reason]
    assert 10 <= sum(made for made, _ in found) < 100


def test_a_process_that_cannot_ask_the_others_decides_by_what_it_knows(patient_url, monkeypatch, caplog):
    """The board does not answer; the books do."""
    with Runtime(store=open_url(patient_url), policy=policy({"failures": 3})) as runtime:

        def silent(ops):
            msg = "the board does not answer"
            raise StoreUnavailable(msg)

        told = []
        runtime.events.on("runaway", told.append)
        fail = failing(runtime, Sync())
        tool = metered_tool("u", price=0, runtime=runtime)(lambda: None)
        with (
            budget_scope(runtime=runtime, **RUN),
            caplog.at_level(logging.WARNING, "costscope"),
            monkeypatch.context() as patched,
        ):
            patched.setattr(runtime.store, "tell", silent)
            for number in range(3):
                fail(number)
            with pytest.raises(RunHalted):
                tool()
        assert runtime.call_reports.drain(30)
        assert runtime.events.drain(30)
        assert [event.reason for event in told] == ["failures"]
        assert any("could not be claimed" in record.message for record in caplog.records)
        runtime.store.close()


def test_runs_of_the_same_name_in_different_tenants_are_different_runs(four, make_agent):
    agents = four({"failures": 3})
    other = make_agent(policy({"failures": 3}))
    assert other.do("open", RUN | {"tenant": "other"}) == "ok"
    for agent in (agents[0], other, agents[1], other):
        assert agent.do("fail", 1) == "ok"
    assert heard([*agents, other]) == []
