"""One class, and not one thread: whatever hangs in the background, leases are renewed and settlements sent."""

from __future__ import annotations

import asyncio
import threading

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from receiver import Receiver
from until import until
from webhook_workers import SECRET

from costscope import Runtime, budget_scope, metered_tool
from costscope.background.heartbeat import awake_s
from costscope.ledger import Commit, new_id
from costscope.scope.runtime import services_of
from costscope.scope.scope import state_of
from costscope_memory import MemoryStore

LONG = 20.0
LEASE_S = 0.6


class ElsewhereStore(MemoryStore):
    """In memory, and taken for one that waits: with leases, and a board."""

    waits = True
    keep_ms = 300_000


class Stuck(NoOpMeterProvider):
    """Its collector does not answer."""

    def __init__(self):
        super().__init__()
        self.entered, self.let_go = threading.Event(), threading.Event()

    def force_flush(self, _):
        self.entered.set()
        assert self.let_go.wait(LONG)


@pytest.fixture
def provider():
    stuck = Stuck()
    yield stuck
    stuck.let_go.set()


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with Receiver("hang") as receiver:
        yield receiver


def test_a_lease_is_renewed_while_a_flush_a_webhook_and_a_callback_hang(provider, receiver):
    begun, let_go = threading.Event(), threading.Event()

    async def hang(_):
        begun.set()
        while not let_go.is_set():
            await asyncio.sleep(0.01)

    policy = {
        "budgets": [
            {"id": "places", "limits": {"concurrent_runs": 2}},
            {
                "id": "b",
                "limits": {"cost": "1"},
                "thresholds": [{"at": 1, "actions": ["webhook", "callback"]}],
            },
        ],
        "webhooks": {"ops": {"url": receiver.url, "secret_env": "HOOK_SECRET", "timeout": 30}},
    }
    runtime = Runtime(
        store=ElsewhereStore(),
        policy=policy,
        slot_lease_s=LEASE_S,
        meter_provider=provider,
        on_threshold=hang,
    )
    tool = metered_tool("t", price="0.05", runtime=runtime)(lambda: None)
    try:
        with budget_scope(runtime=runtime):
            tool()
        with budget_scope(runtime=runtime, run="r-1") as scope:
            lease = state_of(scope).run.lease
            assert provider.entered.wait(LONG)
            assert begun.wait(LONG)
            receiver.wait_for(1)
            since_s = awake_s()
            services_of(runtime).outbox.put(
                Commit(
                    new_id(), state_of(scope).accounts(services_of(runtime).now_ms()), {"cost": 1}, 300_000
                )
            )
            assert services_of(runtime).outbox.drain(LONG)
            until(lambda: lease.renewed_s > since_s + 3 * LEASE_S)
            assert awake_s() < lease.lost_at_s
            tool()
    finally:
        let_go.set()
        provider.let_go.set()
        runtime.close()
