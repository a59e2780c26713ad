"""The command line as a user runs it: another process, with its own exit code, output and errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest


class Finished(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def environment():
    """No store, no colours, no terminal; warnings would be errors."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COSTSCOPE_")}
    return kept | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONWARNINGS": "error", "PYTHONUTF8": "1"}


@pytest.fixture
def temporary():
    """A folder for TMPDIR; not pytest's own, in which a unix socket's path would be too long."""
    folder = Path(tempfile.mkdtemp(prefix="cs-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def costscope(environment):
    """Run `costscope ARGS...` to its end."""

    def run(*args: str, timeout: float = 60, **more: str) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "costscope", *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment | more,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def tcp_store(valkey_server_factory):
    """A real server on loopback, and the URL of a ledger on it."""
    server = valkey_server_factory(tcp=True, appendonly="yes")
    return server, f"{server.tcp_url}?ledger=t-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def books(tcp_store):
    """A ledger with a day of acme, a run with limits of its own, and one hold that is live."""
    from costscope.ledger import Commit, Reserve, new_id
    from costscope.policy import inline_account
    from costscope.policy.load.loader import parse_policy
    from costscope.policy.resolve.accounts import account
    from costscope.stores import open_store

    server, url = tcp_store
    policy = parse_policy(POLICY)
    store = open_store(url)
    now_ms = store.snapshot().now_ms
    labels = {"tenant": "acme", "run": "r-1"}
    accounts = (
        inline_account(labels, {"cost": 2_000_000_000}, shared=True),
        account(policy.budgets[0], labels, now_ms),
    )
    first, second = new_id(), new_id()
    amounts = {"cost": 750_000_000, "model_calls": 1}
    store.execute(
        [Reserve(first, accounts, amounts, 600_000), Commit(first, accounts, {"cost": 500_000_001})]
    )
    store.execute([Reserve(second, accounts, amounts, 600_000)])
    store.close()
    return server, url


POLICY = """
budgets:
  - id: tenant-day
    match: {tenant: "*"}
    per: [tenant]
    period: daily
    limits: {cost: "5.00", model_calls: 10}
  - id: never-used
    match: {team: "*"}
    per: [team]
    limits: {cost: "1"}
prices:
  models:
    my-model: {input: "0.15", output: "0.60"}
  tools: {web_search: "0.01"}
"""


@pytest.fixture
def policy_file(tmp_path):
    path = tmp_path / "budgets.yaml"
    path.write_text(POLICY)
    return path
