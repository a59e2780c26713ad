"""Callers of this process that wait for a refusal to end, so that a settlement here can wake the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from costscope.ledger import Account
    from costscope.stores.effects import Wake

_WOKEN: Final = 4
"""By one settlement: what it frees seldom serves more, and the others ask again by themselves."""


class WaitList(dict["Wake", "tuple[Account, ...]"]):
    """The pauses of one runtime's callers, the longest waiting first, and what each of them waits for.

    Single steps of a dict, so it takes no lock; and a dict, since every settlement asks whether it is empty.
    """

    def add(self, wake: Wake, accounts: tuple[Account, ...]) -> None:
        """Enter a caller that waits for these accounts; one that is there already keeps its place."""
        self[wake] = accounts

    def discard(self, wake: Wake) -> None:
        """Take a caller out."""
        self.pop(wake, None)

    def wake(self, accounts: tuple[Account, ...]) -> None:
        """Let the first who wait for one of these accounts try: something was given back to them."""
        keys = {account.key for account in accounts}
        woken = 0
        for wake, wanted in list(self.items()):
            if wanted is accounts or any(account.key in keys for account in wanted):
                wake()
                woken += 1
                if woken == _WOKEN:
                    return
