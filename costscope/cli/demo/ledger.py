"""What the ledger says about the demo's tree, read from outside the workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.cli.demo.scenario import LABELS
from costscope.errors import StoreUnavailable
from costscope.ledger import Counters
from costscope.policy import read_about

if TYPE_CHECKING:
    from costscope.cli.demo.scenario import Path, Scenario
    from costscope.ledger import Snapshot
    from costscope.stores import Store

__all__ = ["Entry", "await_settled", "entries_of"]

_POLL_S: Final = 0.1
_GRACE_S: Final = 10.0
"""Beyond the lease: a machine that is busy may take its time."""


class Entry(msgspec.Struct, frozen=True):
    """The cost of one account, in nano-USD."""

    spent: int = 0
    held: int = 0
    presumed: int = 0


def entries_of(scenario: Scenario, snapshot: Snapshot) -> dict[Path, Entry]:
    """The ledger's numbers for each tenant, workflow, run and agent, in the order of the tree.

    An account that was not used yet has zeros.
    """
    found = dict.fromkeys(scenario.limits, Entry())
    for account in snapshot.accounts:
        cost = account.meters.get("cost", Counters())
        labels = read_about(account.about).labels
        path = tuple(value for name in LABELS if (value := labels.get(name)) is not None)
        before = found.get(path, Entry())  # two windows of one budget add up
        found[path] = Entry(
            before.spent + cost.spent, before.held + cost.held, before.presumed + cost.presumed
        )
    return found


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
