"""What a ledger counts: the counters of each meter of each account, as they stand and as reports show them."""

from __future__ import annotations

from typing import Final

import msgspec

from costscope.ledger.meters import MAX_AMOUNT

__all__ = [
    "COUNTER_NAMES",
    "Book",
    "Cell",
    "Counters",
    "Snapshot",
    "SnapshotAccount",
    "SnapshotHold",
]

COUNTER_NAMES: Final = (
    "spent",
    "held",
    "reserved",
    "settled",
    "released",
    "presumed",
    "overrun",
    "refund",
    "orphan",
)
"""The counters of one meter of one account, in the order of the wire format of the Valkey store.

`reserved`, `settled`, `released`, `overrun`, `refund` and `orphan` only ever grow, so they are kept modulo 2^53; the
others are amounts that stand, and never exceed 2^53-1.
"""


class Cell:
    """The counters of one meter of one account."""

    __slots__ = COUNTER_NAMES

    spent: int
    held: int
    reserved: int
    settled: int
    released: int
    presumed: int
    overrun: int
    refund: int
    orphan: int

    def __init__(self) -> None:
        self.spent = self.held = self.reserved = self.settled = self.released = 0
        self.presumed = self.overrun = self.refund = self.orphan = 0

    def counters(self) -> Counters:
        """A copy that no later command changes."""
        return Counters(*(getattr(self, name) & MAX_AMOUNT for name in COUNTER_NAMES))


class Book:
    """One account: its cells by meter, who waits for it, and when it may be forgotten."""

    __slots__ = ("about", "cells", "drop_ms", "queue")

    def __init__(self) -> None:
        self.about = "{}"
        self.cells: dict[str, Cell] = {}
        self.drop_ms = 0
        self.queue: dict[str, int] = {}
        """Ticket to the moment from which it counts no more."""

    def gone(self, now_ms: int) -> bool:
        """Past its keeping time: it counts as forgotten even before it is collected."""
        return 0 < self.drop_ms <= now_ms


class Counters(msgspec.Struct, frozen=True):
    """The counters of one meter of one account, as a snapshot shows them."""

    spent: int = 0
    held: int = 0
    reserved: int = 0
    settled: int = 0
    released: int = 0
    presumed: int = 0
    overrun: int = 0
    refund: int = 0
    orphan: int = 0


class SnapshotAccount(msgspec.Struct, frozen=True):
    """One account as it stood at one instant."""

    key: str
    about: str
    drop_ms: int
    meters: dict[str, Counters]


class SnapshotHold(msgspec.Struct, frozen=True):
    """One live hold as it stood at one instant: `lines` is `(account key, meter, amount)`."""

    id: str
    deadline_ms: int
    lines: tuple[tuple[str, str, int], ...]


class Snapshot(msgspec.Struct, frozen=True):
    """All accounts and all live holds of a ledger at one instant of the store's clock."""

    now_ms: int
    accounts: tuple[SnapshotAccount, ...]
    holds: tuple[SnapshotHold, ...]
