"""Controls over several real processes on one Valkey: told once, in force everywhere, paced and served in turn."""

from __future__ import annotations

import multiprocessing
import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from control_workers import cross, degraded, model_used, pace, wait_in_line, work_in_run
from running import open_url

from costscope import Runtime, budget_scope, metered_tool, reserve
from costscope.scope.runtime import services_of

PROCESSES = 4
CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture
def processes():
    """Starts processes, and sees that they end well."""
    started = []

    def start(target, *args):
        started.append(CONTEXT.Process(target=target, args=args))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.join(60)
        if one.is_alive():
            one.kill()
            one.join()
    assert [one.exitcode for one in started] == [0] * len(started)


def budget(*thresholds, **given):
    described = {"id": "b", "limits": {"cost": "2.00"}, "per": ["tenant"], "thresholds": list(thresholds)}
    return {"budgets": [described | given]}


def test_each_crossing_is_told_once_by_four_processes_with_threads(processes, patient_url):
    """200 calls of 0.01 by 16 threads in 4 processes, and a fifth one that comes when all is over."""
    policy = budget(10, 50, 80, 100)
    barrier, results = CONTEXT.Barrier(PROCESSES), CONTEXT.Queue()
    for _ in range(PROCESSES):
        processes(cross, patient_url, policy, barrier, results, 4, 15)
    told = [each for _ in range(PROCESSES) for each in results.get(timeout=60)]
    assert sorted(told) == [("b", "cost", at) for at in (10, 50, 80, 100)]
    processes(cross, patient_url, policy, None, results, 1, 1)
    assert results.get(timeout=60) == []


def test_a_new_process_on_the_same_books_does_not_fire_again_but_its_calls_are_subject_to_it(
    processes, patient_url
):
    """Each of these processes makes one call, and knows nothing before."""
    policy = budget(
        {"at": 50, "actions": ["callback", {"downgrade_model": "cheap"}]}, limits={"cost": "0.02"}
    )
    results = CONTEXT.Queue()
    used = []
    for _ in range(2):
        processes(model_used, patient_url, policy, results)
        used.append(results.get(timeout=60)[0])
    assert used == ["dear", "cheap"]


def test_a_run_is_halted_in_the_process_that_joined_it(processes, patient_url):
    policy = budget({"at": 50, "actions": ["halt_run"]}, limits={"cost": "0.04"})
    results = CONTEXT.Queue()
    with Runtime(store=open_url(patient_url), policy=policy) as runtime:
        tool = metered_tool("t", price="0.02", runtime=runtime)(lambda: None)
        with budget_scope(runtime=runtime, tenant="acme", run="r-1"):
            tool()
            processes(work_in_run, patient_url, policy, results, "r-1")
            assert "50 %" in results.get(timeout=60)
        runtime.store.close()


@pytest.mark.parametrize(
    "given",
    [
        {"limits": {"cost": "0.04"}, "thresholds": [{"at": 50, "actions": ["halt_new_runs"]}]},
        {"limits": {"cost": "0.02"}, "on_limit": "reject_new_runs"},
    ],
    ids=["halt_new_runs", "reject_new_runs"],
)
def test_no_process_admits_a_new_run_once_others_have_spent_so_much_and_theirs_go_on(make_agent, given):
    agents = [make_agent(budget(**given)) for _ in range(3)]
    for at, agent in enumerate(agents[:2]):
        assert agent.do("open", {"tenant": "acme", "run": f"r-{at}"}) == "ok"
        assert agent.do("call") == "ok"
    assert agents[2].do("open", {"tenant": "acme", "run": "r-2"}).startswith("exhausted b cost")
    assert [agent.do("call") for agent in agents[:2]] == ["ok", "ok"]
    assert agents[2].do("open", {"tenant": "other", "run": "r-2"}) == "ok"


def test_a_run_that_meets_a_hard_limit_is_halted_in_all_of_its_processes(make_agent):
    """By calls of 0.01 under a limit of 0.03, of which each process has made one."""
    agents = [make_agent(budget(limits={"cost": "0.03"}, on_limit="halt_run")) for _ in range(3)]
    for at, agent in enumerate(agents):
        assert agent.do("open", {"tenant": "acme", "run": "r-1"}, {"join_run": at > 0}) == "ok"
        assert agent.do("call") == "ok"
    assert agents[1].do("call").startswith("exhausted b cost")
    assert all(agent.do("call").startswith("halted: ") for agent in agents)


def test_capabilities_are_limited_by_what_others_have_spent(processes, patient_url):
    """Each of these processes makes one call, and knows nothing before."""
    capped = {"at": 50, "actions": [{"limit_capabilities": {"max_tokens": 0.5}}]}
    results = CONTEXT.Queue()
    caps = []
    for _ in range(2):
        processes(model_used, patient_url, budget(capped, limits={"cost": "0.02"}), results)
        caps.append(results.get(timeout=60)[1])
    assert caps == [100, 50]


def test_a_soft_budget_is_above_its_limit_for_every_process(processes, patient_url):
    results = CONTEXT.Queue()
    policy = budget(limits={"cost": "0.03"}, enforcement="soft")
    for expected in (0, 1, 2):
        processes(degraded, patient_url, policy, results)
        assert results.get(timeout=60) == expected, "calls that were let through above the limit"


def test_a_throttled_budget_is_paced_over_all_processes(processes, patient_url):
    """The rest of the day carries 20 calls a second: two processes with two threads make no more."""
    offset = next(at for at in range(-11, 13) if 8 <= (datetime.now(UTC).hour + at) % 24 < 16)
    zone = f"Etc/GMT{-offset:+d}"
    now = datetime.now(UTC)
    rest_s = 86_400 - ((now.hour + offset) % 24 * 3600 + now.minute * 60 + now.second)
    rate, seconds = 20, 3.0
    policy = budget(
        {"at": 0.0001, "actions": [{"throttle": {"max_wait": 30}}]},
        limits={"tool_calls": rest_s * rate},
        period="daily",
        timezone=zone,
    )
    barrier, results = CONTEXT.Barrier(2), CONTEXT.Queue()
    for _ in range(2):
        processes(pace, patient_url, policy, barrier, results, seconds, 2)
    made = sorted(at for _ in range(2) for at in results.get(timeout=60))
    paced = made[4:]  # before the threshold, and one for each thread that was on its way
    pause = max(
        later - at for at, later in pairwise(made[3:])
    )  # what came due while the machine was busy comes at once
    assert len(paced) > 10, "they were not held up for good"
    assert len(paced) / (paced[-1] - paced[0] + pause) < rate * 1.25


def test_those_who_wait_are_served_in_the_order_in_which_they_came(processes, patient_url):
    """Ten waiters in two processes, in turns; each is served alone, since the first holds all there is."""
    policy = budget(limits={"cost": "0.10", "concurrent_calls": 1})
    orders, results = [CONTEXT.Queue(), CONTEXT.Queue()], CONTEXT.Queue()
    for queue in orders:
        processes(wait_in_line, patient_url, policy, queue, results)
    assert [results.get(timeout=60) for _ in orders] == ["ready", "ready"]
    names = [f"w{at}" for at in range(10)]
    with Runtime(store=open_url(patient_url), policy=policy) as runtime:
        with (
            budget_scope(runtime=runtime, tenant="acme"),
            reserve(tool="h", price=0, runtime=runtime) as hold,
        ):
            for at, name in enumerate(names):
                orders[at % 2].put(name)
                assert results.get(timeout=60) == "waiting"
                time.sleep(0.05)  # the queue is in the order of the ms at which the tickets were drawn
            hold.release()
        for queue in orders:
            queue.put("")
        served = sorted(each for _ in orders for each in results.get(timeout=60))
        assert [name for _, name in served] == names
        assert services_of(runtime).outbox.drain(10)
        assert runtime.audit().exact
        runtime.store.close()
