"""How the accounts of a scope stand, for whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.state.scope_state import Standing
from costscope.errors import StoreUnavailable
from costscope.ledger import Read
from costscope.pricing.estimate import estimate_of
from costscope.pricing.money import currency
from costscope.scope.balances import AccountBalance, Preview, balances_of, preview

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from typing import Unpack

    from costscope.ledger import Account, Balance
    from costscope.pricing.estimate import Described

__all__ = ["Readings"]


class Readings(Standing):
    """The part of a scope that reads its accounts."""

    __slots__ = ()

    def balances(self) -> list[AccountBalance]:
        """Every account and meter that limits this scope, as last seen: own limits first, no I/O."""
        return balances_of(*self.readings())

    def readings(self) -> tuple[tuple[Account, ...], Sequence[Balance]]:
        """The accounts of this scope and what stands in each, as `balances` has them by meter."""
        accounts = self.accounts(self.runtime.now_ms())
        if self.runtime.store.waits:
            return accounts, [view.balance for view in self._views]
        return accounts, self._read(accounts)

    def refresh(self) -> list[AccountBalance]:
        """Ask the store; then as `balances`."""
        accounts = self.accounts(self.runtime.now_ms())
        self.seen(accounts, self.runtime.store.execute((Read(accounts),))[0])
        return self.balances()

    async def arefresh(self) -> list[AccountBalance]:
        """`refresh` for an event loop."""
        accounts = self.accounts(self.runtime.now_ms())
        self.seen(accounts, (await self.runtime.store.aexecute((Read(accounts),)))[0])
        return self.balances()

    def preview(self, **call: Unpack[Described]) -> Preview:
        """What a call would do now: allowed or refused, by which account, and how many would fit.

        Reserves nothing; asks the store.

        Args:
            call: `model=` or `tool=` and the rest of what `costscope.reserve` takes.
        """
        estimate, _ = estimate_of(self.runtime.prices, call)
        return preview(estimate, self.refresh())

    async def apreview(self, **call: Unpack[Described]) -> Preview:
        """`preview` for an event loop."""
        estimate, _ = estimate_of(self.runtime.prices, call)
        return preview(estimate, await self.arefresh())

    @property
    def spent(self) -> Decimal:
        """Cost so far, in units of the currency, as last seen; no I/O.

        Of the scope's own account if it has a `max_cost` (shared with every process of the same run), else of
        this process's calls in it.
        """
        return currency(self._own_cost()[0])

    @property
    def held(self) -> Decimal:
        """Cost reserved by calls in flight, in units of the currency, counted like `spent`."""
        return currency(self._own_cost()[1])

    @property
    def remaining(self) -> Decimal | None:
        """The least that any budget over this scope has left for `cost`; None where none limits it."""
        left = [row.remaining for row in self.balances() if row.meter == "cost"]
        return currency(min(left)) if left else None

    def _own_cost(self) -> tuple[int, int]:
        if self.tally is not None:
            return self.tally.spent, self.tally.held
        own = next(row for row in self.balances() if row.meter == "cost")
        return own.spent, own.held

    def _read(self, accounts: tuple[Account, ...]) -> tuple[Balance, ...]:
        try:
            reply = self.runtime.store.execute((Read(accounts),))[0]
        except StoreUnavailable:  # what was seen last, as of a store that waits
            return tuple(view.balance for view in self._views) or ((),) * len(accounts)
        self.seen(accounts, reply)
        return reply.balances
