"""What the ledger says about the demo's tree, read from outside the workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.cli.demo.scenario import LABELS, Path
from costscope.errors import StoreUnavailable
from costscope.ledger import Counters
from costscope.policy import read_about

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.cli.demo.scenario import Scenario
    from costscope.ledger import Snapshot
    from costscope.stores import Store

__all__ = ["Books", "Entry", "Places", "await_settled", "read_books"]

_POLL_S: Final = 0.1
_GRACE_S: Final = 10.0
"""Beyond the lease: a machine that is busy may take its time."""


class Entry(msgspec.Struct, frozen=True):
    """The cost of one account, in nano-USD."""

    spent: int = 0
    held: int = 0
    presumed: int = 0


class Places(msgspec.Struct, frozen=True):
    """The runs of one tenant."""

    admitted: int = 0
    """So far, of `limit` in a day."""
    limit: int = 0
    taken: int = 0
    """Runs going on, of `places` at once; those of a killed worker count until their lease has ended."""
    places: int = 0


class Books(msgspec.Struct, frozen=True):
    """One look into the ledger."""

    entries: dict[Path, Entry] = {}
    """For each tenant, workflow, agent and run, in the order of the tree. Not used yet: zeros."""
    runs: dict[str, Places] = {}
    """By tenant."""


def read_books(scenario: Scenario, snapshot: Snapshot) -> Books:
    """What a snapshot says about the demo's tree."""
    entries = dict.fromkeys(scenario.limits, Entry())
    runs: dict[str, Places] = {}
    for account in snapshot.accounts:
        about = read_about(account.about)
        path = tuple(value for name in LABELS if (value := about.labels.get(name)) is not None)
        cost = account.meters.get("cost")
        if cost is not None:
            before = entries.get(path, Entry())  # two windows of one budget add up
            entries[path] = Entry(
                before.spent + cost.spent, before.held + cost.held, before.presumed + cost.presumed
            )
        if len(path) == 1:
            runs[path[0]] = _places(runs.get(path[0], Places()), account.meters, about.limits)
    return Books(entries, runs)


def _places(before: Places, meters: Mapping[str, Counters], limits: Mapping[str, int]) -> Places:
    """Runs are counted in the tenant's budget, their places in an account beside it."""
    counted, taken = meters.get("runs", Counters()), meters.get("concurrent_runs", Counters())
    return Places(
        # a run counts as held until it ends, and as spent from then on
        before.admitted + counted.spent + counted.held,
        before.limit or limits.get("runs", 0),
        before.taken + taken.held,
        before.places or limits.get("concurrent_runs", 0),
    )


async def await_settled(store: Store, lease_s: float) -> Snapshot:
    """Wait until no hold is live: each was settled by its owner, or presumed by a look after its lease.

    Raises:
        StoreUnavailable: some hold stays live long after its lease.
    """
    deadline = asyncio.get_running_loop().time() + lease_s + _GRACE_S
    while True:
        snapshot = await asyncio.to_thread(store.snapshot)
        if not snapshot.holds:
            return snapshot
        if asyncio.get_running_loop().time() > deadline:
            msg = f"{len(snapshot.holds)} holds are still live long after their lease of {lease_s} s"
            raise StoreUnavailable(msg)
        await asyncio.sleep(_POLL_S)
