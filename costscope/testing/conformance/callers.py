"""Who calls the store in these checks, in both colours, and the commands they mostly send."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

from costscope.ledger import Account, Commit, Read, Reserve, new_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from costscope.ledger import Command, Reply
    from costscope.stores import Store
    from costscope.stores.coordination.operations import Op


LEASE_MS: Final = 600_000
"""Longer than any test."""

KEEP_MS: Final = 60_000
"""How long settled holds are remembered here."""

RUN: Final = Account("run/r-1", (("cost", 100), ("tokens", 1000)))
TENANT: Final = Account("tenant/acme", (("cost", 250), ("model_calls", 5)))


class Execute(Protocol):
    """Applies a batch in the colour of the test."""

    def __call__(self, *commands: Command) -> list[Reply]:
        """One reply for each command, in order."""


class Threads:
    """Many callers at once, each in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def send(self, batches: Sequence[Sequence[Any]], *, board: bool) -> list[list[Any]]:
        """Apply all of these at once, to the board or to the books; the answers, batch by batch."""
        apply: Callable[[Any], list[Any]] = self._store.tell if board else self._store.execute
        if len(batches) == 1:
            return [apply(batches[0])]
        with ThreadPoolExecutor(len(batches)) as pool:
            return list(pool.map(apply, batches))

    def close(self) -> None:
        """Close the store, and what the calls needed."""
        self._store.close()


class Tasks:
    """Many callers at once, each in a task of one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._runner = asyncio.Runner()

    def send(self, batches: Sequence[Sequence[Any]], *, board: bool) -> list[list[Any]]:
        """Apply all of these at once, to the board or to the books; the answers, batch by batch."""
        apply: Callable[[Any], Awaitable[list[Any]]] = self._store.atell if board else self._store.aexecute

        async def gather() -> list[list[Any]]:
            return await asyncio.gather(*map(apply, batches))

        return self._runner.run(gather())

    def close(self) -> None:
        """Close the store, and what the calls needed."""
        self._runner.run(self._store.aclose())
        self._runner.close()


class BatchSender:
    """Sends batches in the colour of its callers: an `Execute` for the books, the like for the board."""

    def __init__(self, callers: Threads | Tasks, *, board: bool = False) -> None:
        self._callers = callers
        self._board = board

    def __call__(self, *batch: Command | Op) -> list[Any]:
        """Apply one batch."""
        return self._callers.send([batch], board=self._board)[0]

    def together(self, batches: Sequence[Sequence[Command | Op]]) -> list[list[Any]]:
        """Apply all of these at once; their answers, batch by batch."""
        return self._callers.send(batches, board=self._board)


def balance(execute: Execute, account: Account) -> tuple[int, ...]:
    """Return spent and held of every meter, as the next reader sees them."""
    (reply,) = execute(Read((account,)))
    return reply.balances[0]


def reserve(execute: Execute, account: Account, cost: int) -> Reply:
    """Make a hold of its own on one account."""
    (reply,) = execute(Reserve(new_id(), (account,), {"cost": cost}, LEASE_MS))
    return reply


def pair(
    accounts: tuple[Account, ...], held: dict[str, int], actual: dict[str, int] | None = None
) -> tuple[Reserve, Commit]:
    """Make a reserve and the commit that settles it, with what was held by default."""
    hold = new_id()
    return (
        Reserve(hold, accounts, held, LEASE_MS),
        Commit(hold, accounts, held if actual is None else actual, KEEP_MS),
    )
