"""The keys of a ledger on Valkey: layout version in the prefix, everything under one hash tag.

Account keys arrive percent-encoded and hold ids are hex digits made by the client, so no label can forge another key
or move it to another slot.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

LAYOUT: Final = 1
"""Version of the keys and fields; another one is refused at start-up (`LayoutMismatch`)."""

_BOARD: Final = ("events", "ids", "due", "aging", "payload", "attempts")


class LedgerKeys:
    """The names of one ledger's keys."""

    __slots__ = ("account_prefix", "ages", "board", "board_prefix", "hold_prefix", "index", "leases")

    def __init__(self, ledger: str) -> None:
        tag = "{" + quote(ledger, safe="-_.") + "}"
        root = f"costscope:{LAYOUT}:{tag}"
        self.leases = f"{root}:leases"
        self.index = f"{root}:index"
        self.ages = f"{root}:ages"
        self.account_prefix = f"{root}:a:"
        self.hold_prefix = f"{root}:h:"
        self.board_prefix = f"{root}:board:"
        self.board = tuple(f"{self.board_prefix}{name}" for name in _BOARD)
        """What every request of the board declares, in the order of `board.lua`."""

    def account_of(self, key: bytes) -> str:
        """Return the account key in a full key, as the index stores it."""
        return key.decode().removeprefix(self.account_prefix)
