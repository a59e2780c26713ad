"""A budget of 1.00, calls of 0.01, and many who spend it at once: exactly 100 calls, and not one more."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import spender
from fake_valkey import FakeValkeyStore

from costscope import BudgetExceeded, Runtime, budget_scope, metered_tool
from costscope.scope.default_runtime import default_in_block
from costscope_memory import MemoryStore

CENT = 10_000_000  # in nano-units


@pytest.fixture(params=["memory", "fakeredis", "valkey"])
def store(request):
    match request.param:
        case "memory":
            store = MemoryStore()
        case "fakeredis":
            store = FakeValkeyStore()
        case _:
            store = spender.open_patiently(request.getfixturevalue("valkey_url"))
    yield store
    store.close()


@pytest.fixture
def runtime(store):
    with Runtime(store=store) as runtime, default_in_block(runtime):
        yield runtime


def the_books_say_100(store) -> None:
    report = store.audit()
    assert report.exact, report.differences
    snapshot = store.snapshot()
    assert snapshot.holds == ()
    (account,) = snapshot.accounts
    counters = account.meters["cost"]
    assert (counters.spent, counters.held, counters.reserved) == (100 * CENT, 0, 100 * CENT)


def test_64_threads(runtime):
    together, ran, refused = threading.Barrier(64), [], []

    @metered_tool("step", price="0.01")
    def step(n: int) -> None:
        ran.append(n)  # the provider's own count

    def agent(n: int) -> int:
        together.wait(30)
        admitted = 0
        with budget_scope(run="r-1", max_cost="1.00"):
            for _ in range(5):
                try:
                    step(n)
                    admitted += 1
                except BudgetExceeded as refusal:
                    refused.append(refusal.kind)
        return admitted

    with budget_scope(tenant="acme"), ThreadPoolExecutor(64) as pool:
        from costscope import bind_scope

        admitted = sum(pool.map(bind_scope(agent), range(64)))
    assert admitted == len(ran) == 100
    assert len(refused) == 64 * 5 - 100
    the_books_say_100(runtime.store)


def test_256_tasks(runtime):
    ran = []

    @metered_tool("step", price="0.01")
    async def step(n: int) -> None:
        ran.append(n)
        await asyncio.sleep(0)

    async def agent(n: int) -> int:
        admitted = 0
        async with budget_scope(run="r-1", max_cost="1.00"):
            for _ in range(2):
                try:
                    await step(n)
                    admitted += 1
                except BudgetExceeded:
                    pass
        return admitted

    async def main() -> int:
        async with budget_scope(tenant="acme"):
            admitted = await asyncio.gather(*[agent(n) for n in range(256)])
        await runtime.store.aclose()
        return sum(admitted)

    assert asyncio.run(main()) == len(ran) == 100
    the_books_say_100(runtime.store)


@pytest.fixture(params=["valkey", "embedded"])
def shared_url(request):
    if request.param == "valkey":
        yield request.getfixturevalue("valkey_url")
        return
    import shutil
    import tempfile
    from pathlib import Path

    from costscope_valkey.embedded import stop_server

    books = Path(tempfile.mkdtemp(prefix="cs-"))
    yield f"embedded://{books}"
    stop_server(books)
    shutil.rmtree(books)


def test_4_processes(shared_url, tmp_path):
    """Each opens the store by itself; an embedded server is started by whoever comes first."""
    provider = tmp_path / "provider"
    command = [sys.executable, spender.__file__, shared_url, str(provider), "spend"]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        ran = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdin.close()
            worker.stdout.close()
    assert sum(ran) == provider.stat().st_size == 100
    store = spender.open_patiently(shared_url)
    the_books_say_100(store)
    store.close()
