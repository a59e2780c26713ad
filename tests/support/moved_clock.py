"""A store on each backend whose clock a test moves by hand, from one window into the next.

On Valkey it is the ledger's script that is told the time, by a key on the server. The server itself collects keys by its
own clock, so the clock starts ahead of it.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from ledger_twins import with_clock

from costscope import Runtime
from costscope.testing import ManualClock
from costscope_memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["START", "moved", "moved_clock", "moved_store"]

START = datetime(2040, 3, 10, 12, tzinfo=UTC)


class ServerClock(ManualClock):
    """Tells a server what it shows."""

    def __init__(self, server: object, key: str) -> None:
        super().__init__(START)
        self._server = server
        self.key = key
        self._tell()

    def advance(self, seconds: object) -> None:
        super().advance(seconds)  # type: ignore[arg-type] # as the clock takes it
        self._tell()

    def set(self, when: datetime) -> None:
        super().set(when)
        self._tell()

    def _tell(self) -> None:
        self._server.ask(f"SET {self.key} {self() // 1_000_000}")


@pytest.fixture
def moved_clock(request, store_kind):
    """At noon of a Saturday in March."""
    if store_kind == "memory":
        return ManualClock(START)
    return ServerClock(request.getfixturevalue("valkey_server"), f"clock-{uuid.uuid4().hex}")


@pytest.fixture
def moved_store(request, store_kind, moved_clock) -> Iterator[object]:
    """The store whose clock that is."""
    if store_kind == "memory":
        yield MemoryStore(clock=moved_clock)
        return
    from costscope_valkey.codec import source_of
    from costscope_valkey.store import ValkeyStore
    from costscope_valkey.url import parse_url

    source = with_clock(source_of("ledger"), f"tonumber(redis.call('GET', '{moved_clock.key}'))")
    store = ValkeyStore(parse_url(request.getfixturevalue("patient_url")), ledger_source=source)
    yield store
    store.close()


@pytest.fixture
def moved(moved_store, moved_clock) -> Iterator[Callable[[object], Runtime]]:
    """Makes a runtime with a policy, on that store and by that clock."""
    made = []

    def make(policy: object) -> Runtime:
        made.append(Runtime(store=moved_store, policy=policy, clock=moved_clock))
        return made[-1]

    yield make
    for runtime in made:
        runtime.close()
