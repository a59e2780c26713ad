"""1,000 admissions at once on 50 places: exactly 50, in threads, in tasks and in processes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opened_runs import OpenedRuns
from run_agent import RunAgent
from running import Sync
from spender import PATIENT

from costscope import BudgetExceeded, Runtime, budget_scope
from costscope.stores import open_store
from costscope_valkey.embedded import stop_server

PLACES, TRIES = 50, 1_000
NO_PLACE = ("in_flight", "concurrent_runs")
POLICY = {
    "budgets": [
        {"id": "places", "limits": {"concurrent_runs": PLACES}},
        {"id": "period", "period": "daily", "limits": {"runs": 10_000}},
    ]
}


def nothing_is_taken(store, admitted: int) -> None:
    snapshot = store.snapshot()
    assert snapshot.holds == ()
    meters = {meter: c for account in snapshot.accounts for meter, c in account.meters.items()}
    assert meters["concurrent_runs"].held == 0
    assert (meters["runs"].spent, meters["runs"].held) == (admitted, 0)
    report = store.audit()
    assert report.exact, report.differences


def test_in_threads(make_runtime):
    opened = OpenedRuns(make_runtime(policy=POLICY), Sync())
    together, everybody_tried = threading.Barrier(100), threading.Barrier(100)
    refusals = []

    def worker(number: int) -> int:
        """Ten tries each, and nobody leaves before all have tried."""
        admitted = []
        together.wait(60)
        for attempt in range(TRIES // 100):
            try:
                opener, _ = opened.enter(run=f"r-{number}-{attempt}")
            except BudgetExceeded as refused:
                refusals.append((refused.kind, refused.meter))
            else:
                admitted.append(opener)
        everybody_tried.wait(60)
        for opener in admitted:
            opened.leave(opener)
        return len(admitted)

    with ThreadPoolExecutor(100) as pool:
        assert sum(pool.map(worker, range(100))) == PLACES
    assert refusals == [NO_PLACE] * (TRIES - PLACES)
    nothing_is_taken(opened.runtime.store, PLACES)


def test_in_tasks(make_runtime):
    runtime = make_runtime(policy=POLICY)
    refusals = []

    async def main() -> int:
        tried, everybody_tried = 0, asyncio.Event()

        async def agent(number: int) -> int:
            nonlocal tried
            opener = budget_scope(runtime=runtime, run=f"r-{number}")
            try:
                await opener.__aenter__()
            except BudgetExceeded as refused:
                refusals.append((refused.kind, refused.meter))
                opener = None
            tried += 1
            if tried == TRIES:
                everybody_tried.set()
            await everybody_tried.wait()
            if opener is None:
                return 0
            await opener.__aexit__(None, None, None)
            return 1

        admitted = await asyncio.gather(*(agent(number) for number in range(TRIES)))
        await runtime.store.aclose()
        return sum(admitted)

    assert asyncio.run(main()) == PLACES
    assert refusals == [NO_PLACE] * (TRIES - PLACES)
    nothing_is_taken(runtime.store, PLACES)


@pytest.fixture(params=["valkey", "embedded"])
def shared_url(request):
    if request.param == "valkey":
        yield request.getfixturevalue("patient_url")
        return
    folder = Path(tempfile.mkdtemp(prefix="cs-"))
    yield f"embedded://{folder}?{PATIENT}"
    stop_server(folder)
    shutil.rmtree(folder)


def test_in_processes(shared_url):
    agents = [RunAgent(shared_url, POLICY, {}) for _ in range(4)]
    try:
        for number, agent in enumerate(agents):
            agent.tell("open_many", TRIES // 4, f"p-{number}")
        assert sum(agent.hears() for agent in agents) == PLACES
        assert sum(agent.do("leave_all") for agent in agents) == PLACES
    finally:
        for agent in agents:
            agent.end()
    store = open_store(shared_url)
    nothing_is_taken(store, PLACES)
    store.close()


def test_many_runs_one_after_another_on_one_place(make_runtime):
    """None of them leaves anything behind that the next one would miss."""
    runtime: Runtime = make_runtime(
        policy={"budgets": [{"id": "p", "limits": {"concurrent_runs": 1, "runs": 999}}]}
    )
    for number in range(200):
        with budget_scope(runtime=runtime, run=f"r-{number}"):
            pass
    nothing_is_taken(runtime.store, 200)
