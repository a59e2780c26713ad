"""A policy file that changes under several processes: they meet the new limit together, with what all have spent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "support" / "reloader.py"
LIMIT = "budgets: [{{id: b, match: {{tenant: '*'}}, per: [tenant], limits: {{tool_calls: {}}}}}]\n"


@pytest.fixture
def processes(valkey_url, tmp_path):
    """Three of them, ready, and the file they go by."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(LIMIT.format(3))
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), valkey_url, str(policy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for _ in range(3)
    ]
    try:
        for process in started:
            assert process.stdout.readline() == "ready\n"
        yield policy, started
    finally:
        for process in started:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()


def call(process):
    process.stdin.write("call\n")
    return process.stdout.readline().strip()


def test_all_processes_meet_the_new_limit_together(processes):
    policy, (one, two, three) = processes
    assert [call(process) for process in (one, two, three)] == ["admitted"] * 3
    assert [call(process) for process in (one, two, three)] == ["limit 3"] * 3
    policy.write_text(LIMIT.format(5))
    assert [process.stdout.readline().strip() for process in (one, two, three)] == ["reloaded 5"] * 3
    assert [call(process) for process in (one, two, three, one)] == [
        "admitted",
        "admitted",
        "limit 5",
        "limit 5",
    ]
    policy.write_text(LIMIT.format(4))
    assert [process.stdout.readline().strip() for process in (one, two, three)] == ["reloaded 4"] * 3
    assert [call(process) for process in (one, two, three)] == ["limit 4"] * 3
