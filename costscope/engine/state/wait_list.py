"""Who waits in this process for a refusal to end, so that a settlement here can wake the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from costscope.ledger import Account
    from costscope.stores.effects import Wake

__all__ = ["Waiting"]

_WOKEN: Final = 4
"""By one settlement: what it frees seldom serves more, and the others ask again by themselves."""


class Waiting(dict["Wake", "tuple[Account, ...]"]):
    """The pauses of one runtime's callers, the longest waiting first, and what each of them waits for.

    Single steps of a dict, so it takes no lock; and a dict, since every settlement asks whether it is empty.
    """

    def add(self, wake: Wake, accounts: tuple[Account, ...]) -> None:
        """Somebody waits for these accounts; who has waited already keeps the place."""
        self[wake] = accounts

    def discard(self, wake: Wake) -> None:
        """Nobody waits here any more."""
        self.pop(wake, None)

    def nudge(self, accounts: tuple[Account, ...]) -> None:
        """Something was given back to these accounts: let the first who wait for one of them try."""
        keys = {account.key for account in accounts}
        woken = 0
        for wake, wanted in list(self.items()):
            if wanted is accounts or any(account.key in keys for account in wanted):
                wake()
                woken += 1
                if woken == _WOKEN:
                    return
