"""`costscope demo` as a process: the main job, end to end."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import started

OWED = {
    "limit_usd", "provider_billed_usd", "ledger_spent_usd", "presumed_usd", "over_budget_usd", "calls", "denials",
    "rate_per_s", "p50_us", "p99_us", "audit", "runs", "thresholds_crossed", "downgrades", "saved_usd",
    "runaways_halted",
}  # fmt: skip


def test_a_worker_is_killed_and_not_a_cent_too_much_is_spent(costscope, temporary):
    done = costscope(
        "demo", "--json", "--processes", "2", "--tasks", "3", "--calls", "20", TMPDIR=str(temporary)
    )
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1, "one object and nothing else"
    found = json.loads(done.out)
    assert found.keys() >= OWED
    assert found["over_budget_usd"] == 0
    assert found["audit"] == "exact"
    assert found["broken_promises"] == []
    assert found["limit_usd"] == 0.12
    assert found["killed_processes"] == 1
    assert found["unanswered_calls"] >= 1
    assert found["presumed_usd"] > 0
    assert found["provider_billed_usd"] <= found["ledger_spent_usd"] <= found["limit_usd"]
    assert found["calls"] > 0
    assert found["denials"] > 0
    assert 0 < found["p50_us"] <= found["p99_us"]
    assert found["rate_per_s"] > 0
    assert found["runs"]["abandoned"] >= 1
    assert found["runs"]["halted"] == found["runaways_halted"] == 1
    assert len(found["accounts"]) == len({tuple(account["labels"].values()) for account in found["accounts"]})
    assert all(account["held_usd"] == 0 for account in found["accounts"])
    assert list(temporary.iterdir()) == [], "the temporary folder is gone"


def test_every_control_of_the_policy_acts_over_two_processes(costscope):
    """Thresholds, a downgrade, both kinds of runaways, runs that wait, that fail and that are refused."""
    done = costscope(
        "demo", "--json", "--processes", "2", "--tasks", "6", "--calls", "100", "--no-kill", "--budget", "0.6"
    )
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["broken_promises"] == []
    told = {(crossed["budget"], crossed["percent"]) for crossed in found["thresholds"]}
    assert told >= {("acme-day", 50), ("acme-day", 80), ("birch-day", 50), ("cedar-day", 50)}
    assert len(told) == len(found["thresholds"]) == found["thresholds_crossed"]
    assert all((crossed["times"], crossed["callbacks"]) == (1, 1) for crossed in found["thresholds"])
    assert found["downgrades"] > 0
    assert found["saved_usd"] > 0
    assert found["runaways"] == [
        {"run": "agent-01.2", "reason": "repeats", "status": "halted", "calls": 10},
        {"run": "agent-01.3", "reason": "failures", "status": "halted", "calls": 3},
    ]
    runs = found["runs"]
    assert runs["halted"] == 2
    assert runs["completed"] > 0
    assert runs["refused"] > 0
    assert runs["abandoned"] == 0
    assert runs["admitted"] == runs["completed"] + runs["failed"] + runs["halted"]
    acme, _, cedar = found["tenants"]
    assert (acme["tenant"], acme["places"]) == ("acme", 3)
    assert acme["most_at_once"] == 3
    assert acme["runs"]["refused"] == 0, "its agents wait for their turn"
    assert (cedar["tenant"], cedar["runs"]["admitted"], cedar["limit"]) == ("cedar", 15, 15)


def test_without_a_kill_both_bills_agree_to_the_nano(costscope):
    done = costscope(
        "demo", "--json", "--processes", "2", "--tasks", "2", "--calls", "10", "--no-kill", "--budget", "0.5"
    )
    assert done.code == 0
    found = json.loads(done.out)
    assert found["killed_processes"] == 0
    assert found["presumed_usd"] == 0
    assert found["provider_billed_usd"] == found["ledger_spent_usd"] > 0
    for account in found["accounts"]:
        assert account["billed_usd"] == account["spent_usd"], account
    assert found["limit_usd"] == 0.5


def test_a_given_store_is_used_under_a_ledger_of_its_own_and_kept(costscope, books):
    _, url = books
    done = costscope("demo", "--store", url, "--processes", "2", "--tasks", "2", "--calls", "6", "--no-kill")
    assert (done.code, done.err) == (0, "")
    assert "over budget: 0.00" in done.out
    kept = done.out.split("--store '")[1].split("'")[0]
    assert kept.startswith("valkey://127.0.0.1")
    assert "ledger=demo-" in kept
    assert "acme-day" in costscope("status", "--store", kept).out
    assert costscope("audit", "--store", kept).code == 0
    assert json.loads(costscope("status", "--store", url, "--json").out)["live_holds"] == 1, "untouched"


def test_memory_serves_one_process(costscope):
    done = costscope(
        "demo", "--store", "memory://", "--processes", "1", "--tasks", "2", "--calls", "5", "--json"
    )
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["store"] == "memory://"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--store", "memory://"), "--processes 1"),
        (("--processes", "1", "--kill"), "--processes 2 or more"),
        (("--budget", "-1"), "--budget"),
        (("--budget", "NaN"), "--budget"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(costscope, args, words):
    done = costscope("demo", *args)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert done.err.count("\n") == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the workers in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(environment, temporary, number):
    command = [
        sys.executable,
        "-m",
        "costscope",
        "demo",
        "--processes",
        "2",
        "--tasks",
        "2",
        "--calls",
        "100000",
    ]
    more = {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with started(command, stdout=pipe, stderr=pipe, text=True, env=environment | more) as process:
        ready = any("all agents start" in line for line in process.stdout)
        workers = _children(process.pid)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert ready, err
    assert len(workers) >= 2
    assert process.returncode == 130
    assert err == "costscope: demo stopped; nothing of it is left running\n"
    assert list(temporary.iterdir()) == []
    assert not [pid for pid in workers if _alive(pid)]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the workers in /proc")
def test_a_worker_that_ends_by_itself_is_said_in_one_line_and_ends_the_demo(environment, temporary):
    command = [sys.executable, "-m", "costscope", "demo", "--no-kill", "--processes", "2", "--tasks", "2"]
    more = {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with started(
        [*command, "--calls", "100000"], stdout=pipe, stderr=pipe, text=True, env=environment | more
    ) as process:
        ready = any("all agents start" in line for line in process.stdout)
        workers = [pid for pid in _children(process.pid) if "demo.agents" in _command_of(pid)]
        os.kill(workers[0], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert ready, err
    assert len(workers) == 2
    assert process.returncode == 2
    assert re.fullmatch(r"costscope: worker [12] of the demo ended: it left with code -9\n", err)
    assert list(temporary.iterdir()) == []
    assert not [pid for pid in workers if _alive(pid)]


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def _alive(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:  # the guardian ends a moment after its server
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True
