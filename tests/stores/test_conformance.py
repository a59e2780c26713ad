"""The published conformance suite over every store we ship, and over fakeredis."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from fake_valkey import FakeValkeyStore

import costscope_valkey
from costscope.ledger import new_id
from costscope.stores import open_store
from costscope.testing import ManualClock
from costscope.testing.conformance import StoreConformance
from costscope_memory import MemoryStore

_PATIENT = "connect_timeout_ms=10000&operation_timeout_ms=20000&total_timeout_ms=40000"


class TestMemory(StoreConformance):
    @pytest.fixture
    def clock(self):
        return ManualClock()

    @pytest.fixture
    def store(self, clock):
        return MemoryStore(clock=clock)

    @pytest.fixture
    def advance(self, clock):
        return lambda ms: clock.advance(ms / 1000)


class TestMemoryOnTheRealClock(StoreConformance):
    @pytest.fixture
    def store(self):
        return open_store("memory://")


class TestFakeValkey(StoreConformance):
    @pytest.fixture
    def store(self):
        return FakeValkeyStore()


class TestValkey(StoreConformance):
    @pytest.fixture
    def store(self, valkey_url):
        return costscope_valkey.open_url(f"{valkey_url}&{_PATIENT}")


@pytest.fixture(scope="module")
def books():
    """The folder of an embedded server."""
    from costscope_valkey.embedded import stop_server

    base = Path(tempfile.mkdtemp(prefix="cs-"))
    yield base
    stop_server(base)
    shutil.rmtree(base)


class TestEmbedded(StoreConformance):
    @pytest.fixture
    def store(self, books):
        return open_store(f"embedded://{books}?ledger=t-{new_id()}&{_PATIENT}")
