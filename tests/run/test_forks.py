"""A forked child works in the run it was born in, and ends none but its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from run_agent import STEADY_LEASE_S
from until import until

from costscope import Runtime, budget_scope, metered_tool
from costscope.board import ReadEvents
from costscope.events import RunEnded, decode_event
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of
from costscope.stores import open_store

LEASE_S = 4.5
"""A third of it passes between renewals: a machine that is busy may leave this process alone for 3 s."""
POLICY = {
    "budgets": [
        {"id": "places", "limits": {"concurrent_runs": 2}},
        {"id": "all", "limits": {"cost": "1"}, "constraints": {"iterations": 10}},
    ]
}
CENT = 10_000_000

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture
def runtime(patient_url):
    with Runtime(store=open_store(patient_url), policy=POLICY, slot_lease_s=LEASE_S) as runtime:
        yield runtime


def forked(body) -> int:
    """Run this in a forked child; its exit code."""
    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    child.join(60)
    return child.exitcode


def ends(runtime):
    assert runtime.events.drain(20)
    found = [decode_event(entry.record) for entry in runtime.store.tell([ReadEvents(100)])[0]]
    return [(event.run, event.status) for event in found if isinstance(event, RunEnded)]


def counters(runtime, budget, meter):
    assert services_of(runtime).outbox.drain(20)
    (found,) = [a for a in runtime.store.snapshot().accounts if a.key.startswith(f"{budget}/")]
    return found.meters[meter]


def test_a_child_that_leaves_its_parents_run_does_not_end_it(runtime):
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
    opener = budget_scope(runtime=runtime, run="r-1")

    def child() -> None:
        tool()
        with runtime.current_scope().iteration():
            pass
        opener.__exit__(None, None, None)

    with opener as run:
        assert forked(child) == 0
        assert counters(runtime, "places~slots", "concurrent_runs").held == 1
        assert ends(runtime) == []
        tool()
    assert ends(runtime) == [("r-1", "completed")]
    assert state_of(run).run.iterations == 0, "of this process"
    assert counters(runtime, "all", "cost").spent == 2 * CENT
    assert counters(runtime, "~run", "iterations").spent == 1
    assert runtime.audit().exact


def test_a_child_works_on_in_the_run_for_longer_than_a_lease(runtime):
    """The parent keeps the place; the child has no heartbeat of its own for it, and needs none."""
    tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)

    def child() -> None:
        time.sleep(1.5 * LEASE_S)
        tool()

    with budget_scope(runtime=runtime, run="r-1"):
        tool()
        assert forked(child) == 0
    assert counters(runtime, "all", "cost").spent == 2 * CENT


def test_a_run_of_the_childs_own_is_kept_up_by_the_child(runtime):
    opener = budget_scope(runtime=runtime, run="r-1")

    def child() -> None:
        opener.__exit__(None, None, None)
        tool = metered_tool("t", price="0.01", runtime=runtime)(lambda: None)
        with budget_scope(runtime=runtime, run="r-2"):
            time.sleep(1.5 * LEASE_S)
            tool()

    with opener:
        assert forked(child) == 0
        assert ends(runtime) == [("r-2", "completed")]
        assert counters(runtime, "places~slots", "concurrent_runs").held == 1
    assert ends(runtime) == [("r-2", "completed"), ("r-1", "completed")]


def test_a_program_that_ends_with_a_run_open_has_abandoned_it(make_agent, patient_url):
    leaver, other = [make_agent(POLICY, slot_lease_s=STEADY_LEASE_S) for _ in range(2)]
    assert leaver.do("open", {"run": "r-1"}) == "ok"
    leaver.hurry()
    leaver.leaves_quietly()
    until(lambda: other.do("look") == 0)
    assert other.do("published")
    with Runtime(store=open_store(patient_url), policy=POLICY) as runtime:
        assert ends(runtime) == [("r-1", "abandoned")]


PROGRAM = """
import sys, threading
from costscope import Runtime, budget_scope
runtime = Runtime(store=sys.argv[1], policy={"budgets": [{"id": "p", "limits": {"concurrent_runs": 2}}]})
inside = threading.Event()

def work():
    with budget_scope(runtime=runtime, run="in-a-daemon-thread"):
        inside.set()
        threading.Event().wait()

threading.Thread(target=work, daemon=True).start()
inside.wait()
with budget_scope(runtime=runtime, run="in-the-main-thread"):
    sys.exit(3)
"""


def test_an_interpreter_ends_in_good_time_whatever_runs_are_open(patient_url, runtime):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, patient_url], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 50
    assert ("in-the-main-thread", "failed") in ends(runtime)
