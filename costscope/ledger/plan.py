"""The books behind one tuple of accounts, laid out flat for the hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.meters import SLOTS
from costscope.ledger.state import Cell

if TYPE_CHECKING:
    from costscope.ledger.commands import Account, Amounts, Balance
    from costscope.ledger.state import Book

__all__ = ["Entry", "Plan"]

Entry = tuple[Cell, str, int, int]
"""`(cell, meter, brink, amount)`: one amount in one account. Up to its brink a sum is admitted and nobody wants to
hear of it: the limit, or where that is lower, what lies just below the level that is watched."""


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
        """What every commit says of slots, whatever its caller says: they are given back and never spent."""
        self.amounts: Amounts | None = {}
        self.entries: list[Entry] = []
        """What `amounts`, those of the last reserve, are in the accounts: most calls of a scope hold the same."""
        self.from_ms = self.to_ms = 0
        """Valid while `from_ms <= now < to_ms`: inside every window, before any keeping time needs care."""
        self.until_ms = self.idle_ms = 0
        """The accounts are sure to be kept until `until_ms` (windows) and `idle_ms` from now (the others):
        no hold on them may last longer."""

    def entries_of(self, amounts: Amounts) -> list[Entry]:
        """What these amounts are in the accounts; remembered in `entries`."""
        self.amounts = (
            None  # an interrupt in between must not leave one reserve's amounts with another's entries
        )
        self.entries = [
            (c, meter, brink, amounts[meter]) for meter, _, c, brink in self.lines if meter in amounts
        ]
        self.amounts = dict(amounts)
        return self.entries

    def balances(self) -> tuple[Balance, ...]:
        """`(spent, held)` of every meter, account by account."""
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
