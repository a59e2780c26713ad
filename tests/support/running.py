"""Fixtures for tests that run metered calls: a runtime on each store, its books, and both colours of function.

The `conftest.py` of a folder imports them by name.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect

import pytest

from costscope import Runtime
from costscope.scope.default_runtime import default_in_block as default_runtime
from costscope.scope.runtime import services_of
from costscope.stores import open_store as open_url

__all__ = [
    "Async",
    "Books",
    "Sync",
    "books",
    "colour",
    "default_runtime",
    "make_runtime",
    "make_store",
    "open_url",
    "patient_url",
    "policy",
    "runtime",
    "store_kind",
]

PATIENT = "&connect_timeout_ms=10000&operation_timeout_ms=20000&total_timeout_ms=40000"
"""No busy machine exceeds these."""


@pytest.fixture
def patient_url(valkey_url) -> str:
    """A ledger of this test's own on the real server, with time-outs that no busy machine exceeds."""
    return valkey_url + PATIENT


@pytest.fixture(params=["memory", "valkey"])
def store_kind(request) -> str:
    return request.param


@pytest.fixture
def make_store(request, store_kind):
    """Opens the store this test runs on; on Valkey every call opens the same ledger."""
    stores = []
    url = "memory://" if store_kind == "memory" else request.getfixturevalue("patient_url")

    def make():
        stores.append(open_url(url))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def policy():
    """One budget that covers every scope, counts everything, and lets everything pass."""
    many = dict.fromkeys(("tokens", "input_tokens", "output_tokens", "model_calls", "tool_calls"), 10**9)
    return {"budgets": [{"id": "all", "limits": {"cost": "1000", **many}}]}


@pytest.fixture
def make_runtime(make_store, policy):
    runtimes = []

    def make(**options):
        runtimes.append(Runtime(**({"store": make_store(), "policy": policy} | options)))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.close()


@pytest.fixture
def runtime(make_runtime) -> Runtime:
    return make_runtime()


class Books:
    """What stands in a runtime's books once everything that waited was sent."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def snapshot(self):
        assert services_of(self._runtime).outbox.drain(30), "settlements still wait"
        return self._runtime.store.snapshot()

    def counters(self, budget="all", meter="cost"):
        """The counters of the one account of a budget."""
        (found,) = [account for account in self.snapshot().accounts if account.key.startswith(f"{budget}/")]
        return found.meters[meter]

    def spent(self, meter="cost", budget="all") -> int:
        return self.counters(budget, meter).spent

    def accounts(self):
        return {account.key for account in self.snapshot().accounts}

    def settle(self) -> None:
        """Every unit is accounted for exactly once, and nothing is held."""
        snapshot = self.snapshot()
        assert snapshot.holds == ()
        report = self._runtime.audit()
        assert report.exact, "\n".join(map(str, report.differences))
        for account in snapshot.accounts:
            for meter, counters in account.meters.items():
                assert counters.held == 0, (account.key, meter)


@pytest.fixture
def books(runtime) -> Books:
    return Books(runtime)


class Sync:
    """Plain functions."""

    name = "sync"

    def define(self, body):
        """The body as a function of this colour."""
        return body

    def run(self, function, *args, **kwargs):
        """Call it and wait for what it returns."""
        return function(*args, **kwargs)

    def close(self) -> None:
        """Nothing to close."""


class Async:
    """Coroutine functions, on one event loop."""

    name = "async"

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def define(self, body):
        if inspect.isgeneratorfunction(body):

            @functools.wraps(body)
            async def generate(*args, **kwargs):
                for item in body(*args, **kwargs):
                    yield item

            return generate

        @functools.wraps(body)
        async def run(*args, **kwargs):
            return body(*args, **kwargs)

        return run

    def run(self, function, *args, **kwargs):
        async def waited():
            found = function(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return self._runner.run(waited(), context=contextvars.copy_context())

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def colour(request):
    colour = request.param()
    yield colour
    colour.close()
