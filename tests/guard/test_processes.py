"""Runs over several processes: one set of limits; and what becomes of a run whose process is killed."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import guarded
import pytest
from guarded import POLICY, SLOT, share
from running import Books

from costscope import Guard, Runtime

SLOT_LEASE_S = 4.5
"""A third of it passes between renewals: a machine that is busy may leave that process alone for 3 s."""
CALL_LEASE_S = 1.5


def test_processes_that_work_in_one_run_share_its_limits(valkey_url, patient_url):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(share, valkey_url, join=number > 0) for number in range(2)]
        results = [job.result(100) for job in jobs]
    assert sum(calls for calls, _, _ in results) == 20
    assert sum(turns for _, turns, _ in results) == 12
    for _, _, why in results:
        assert why == ["~run tool_calls", "~run iterations"]
    with Runtime(store=patient_url, policy=POLICY) as runtime:
        books = Books(runtime)
        assert books.spent("tool_calls", "~run") == 20
        assert books.spent(budget="tenant") == 20 * 10_000_000
        books.settle()


@pytest.fixture
def killable(valkey_url):
    """A process in the middle of a run and of a call."""
    leases = [str(SLOT_LEASE_S), str(CALL_LEASE_S)]
    process = subprocess.Popen(
        [sys.executable, guarded.__file__, valkey_url, *leases], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "inside\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_process_frees_its_place_after_the_lease_and_its_call_is_charged(killable, patient_url):
    with Runtime(store=patient_url, policy=SLOT) as runtime:
        ended = []
        runtime.events.on("run_ended", ended.append)
        guard = Guard(runtime)
        lives_until = time.monotonic() + SLOT_LEASE_S + 1
        while time.monotonic() < lives_until:
            refused = guard.on_run_start("r-2", tenant="acme")
            assert (refused.allowed, refused.kind) == (False, "in_flight"), "never early while it lives"
            time.sleep(0.05)
        killable.kill()
        ends_ms = max((hold.deadline_ms for hold in runtime.store.snapshot().holds), default=0)
        asked_ms = 0
        while not (admission := guard.on_run_start("r-2", tenant="acme")).allowed:
            assert admission.kind == "in_flight"
            assert asked_ms < ends_ms, "its lease is over, and the place is not free"
            time.sleep(0.02)
            asked_ms = time.time_ns() // 1_000_000  # the store's clock is this machine's
        assert time.time_ns() // 1_000_000 >= ends_ms, "it was given away while the lease ran"
        deadline = time.monotonic() + 30
        while Books(runtime).counters("one").presumed != 20_000_000:
            assert time.monotonic() < deadline, "the hold of the dead is never presumed"
            guard.before_tool_call("r-2", "other", price="0.01")
            guard.after_tool_call("r-2", "0")
            time.sleep(0.05)
        guard.on_run_end("r-2")
        assert Books(runtime).spent(budget="one") == 20_000_000, "charged, not forgotten"
        assert [(event.run, event.status) for event in ended] == [("r-1", "abandoned"), ("r-2", "completed")]
        Books(runtime).settle()
