"""Who tells the board something: threads or tasks. The fixtures of the checks of `Store.tell` and `Store.atell`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from costscope.stores import Store
    from costscope.stores.coordination.operations import Op


HOUR_MS: Final = 3_600_000


class Tell(Protocol):
    """Applies operations in the colour of the test."""

    def __call__(self, *ops: Op) -> list[Any]:
        """One answer for each, in order; of the kind the operation says."""

    def together(self, batches: list[list[Op]]) -> list[list[Any]]:
        """All of these at once; their answers, batch by batch."""


class _Threads:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, *ops: Op) -> list[Any]:
        return self._store.tell(ops)

    def together(self, batches: list[list[Op]]) -> list[list[Any]]:
        with ThreadPoolExecutor(len(batches)) as pool:
            return list(pool.map(self._store.tell, batches))

    def close(self) -> None:
        self._store.close()


class _Tasks:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._runner = asyncio.Runner()

    def __call__(self, *ops: Op) -> list[Any]:
        return self._runner.run(self._store.atell(ops))

    def together(self, batches: list[list[Op]]) -> list[list[Any]]:
        async def gather() -> list[list[Any]]:
            return await asyncio.gather(*map(self._store.atell, batches))

        return self._runner.run(gather())

    def close(self) -> None:
        self._runner.run(self._store.aclose())
        self._runner.close()


class Telling:
    """The fixture `tell`."""

    @pytest.fixture(params=["sync", "async"])
    def tell(self, request: pytest.FixtureRequest, store: Store) -> Iterator[Tell]:
        """Asks the board in either colour."""
        callers = _Threads(store) if request.param == "sync" else _Tasks(store)
        yield callers
        callers.close()
