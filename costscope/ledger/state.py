"""What a ledger counts: the counters of each meter of each account, as they stand and as reports show them."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.ledger.commands import Amounts, Reserve
from costscope.ledger.meters import MAX_AMOUNT, SLOTS

if TYPE_CHECKING:
    from costscope.ledger.commands import Account, Balance


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


COUNTER_NAMES: Final[tuple[str, ...]] = Counters.__struct_fields__
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
        """Return a copy that no later command changes."""
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
        """Return True past its keeping time: it counts as forgotten even before it is collected."""
        return 0 < self.drop_ms <= now_ms


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


Entry = tuple[Cell, str, int, int]
"""`(cell, meter, brink, amount)`: one amount in one account. Up to its brink a sum is admitted and not
reported: the limit, or where that is lower, what lies just below the level that is watched."""


class Plan:
    """The books behind one tuple of accounts, laid out flat for the hot path, while nothing about them changes."""

    __slots__ = (
        "accounts",
        "amounts",
        "books",
        "entries",
        "from_ms",
        "idle_ms",
        "lines",
        "slots",
        "to_ms",
        "until_ms",
    )

    def __init__(self, accounts: tuple[Account, ...], books: tuple[Book, ...]) -> None:
        self.accounts = accounts
        self.books = books
        self.lines: tuple[tuple[str, int, Cell, int], ...] = tuple(
            (meter, limit, book.cells.setdefault(meter, Cell()), _brink(account, meter, limit))
            for account, book in zip(accounts, books, strict=True)
            for meter, limit in account.limits
        )
        """`(meter, limit, cell, brink)` of every account."""
        self.slots: Amounts = {line[0]: 0 for line in self.lines if line[0] in SLOTS}
        """What every commit says of slots, regardless of its caller: they are given back and never spent."""
        self.amounts: Amounts | None = {}
        self.entries: list[Entry] = []
        """What `amounts`, those of the last reserve, are in the accounts: most calls of a scope hold the same."""
        self.from_ms = self.to_ms = 0
        """Valid while `from_ms <= now < to_ms`: inside every window, before any keeping time needs care."""
        self.until_ms = self.idle_ms = 0
        """The accounts are sure to be kept until `until_ms` (windows) and `idle_ms` from now (the others):
        no hold on them may last longer."""

    def entries_of(self, amounts: Amounts) -> list[Entry]:
        """Lay out these amounts in the accounts; remembered in `entries`."""
        self.amounts = (
            None  # an interrupt in between must not leave one reserve's amounts with another's entries
        )
        self.entries = [
            (c, meter, brink, amounts[meter]) for meter, _, c, brink in self.lines if meter in amounts
        ]
        self.amounts = dict(amounts)
        return self.entries

    def balances(self) -> tuple[Balance, ...]:
        """Return `(spent, held)` of every meter, account by account."""
        flat = [number for _, _, cell, _ in self.lines for number in (cell.spent, cell.held)]
        found, at = [], 0
        for account in self.accounts:
            end = at + 2 * len(account.limits)
            found.append(tuple(flat[at:end]))
            at = end
        return tuple(found)


def _brink(account: Account, meter: str, limit: int) -> int:
    for watched, level in account.watch:
        if watched == meter and level <= limit:
            return level - 1
    return limit


class HoldState(IntEnum):
    """Where a hold is in its life; `HELD` is the only state that still holds anything."""

    HELD = 1
    COMMITTED = 2
    RELEASED = 3
    """Given back: by its owner, by `on_lost="release"`, or a tombstone of an id that was never reserved."""
    PRESUMED = 4
    LATE = 5
    ORPHAN = 6
    FORGIVEN = 7
    """No hold: what `Forgive` leaves behind, so that it is not entered twice."""


class Hold(msgspec.Struct, gc=False):
    """The record of one reservation."""

    state: HoldState
    request: Reserve | None = None
    """The reserve as it was asked for; None for tombstones and orphans."""
    plan: Plan | None = None
    entries: list[Entry] = []
    """What is held where."""
    units: int = 0
    deadline_ms: int = 0
    until_ms: int = 0
    """The deadline can be extended to this moment and no further: later the accounts may be gone."""
    drop_ms: int = 0
    """When the record may be forgotten; 0 while the hold is live."""
    actual: Amounts = {}
