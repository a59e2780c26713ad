"""What random histories seldom come to: a holder says more of its slots than fits, while others hold some as well."""

from __future__ import annotations

from typing import Final

import hypothesis.strategies as st
from hypothesis.stateful import rule

from costscope.ledger import MAX_AMOUNT, Account, Commit, Expire, Release, Reserve
from ledger_twins.machine import LedgerComparison

__all__ = ["SlotComparison"]

_ACCOUNT: Final = (Account("slots/many", (("concurrent_calls", 9),)),)


class SlotComparison(LedgerComparison):
    """Beside everything that happens to a ledger, slots of which too much is said."""

    @rule(said=st.sampled_from([0, 1, MAX_AMOUNT - 1, MAX_AMOUNT]), late=st.booleans())
    def say_how_many(self, said, late) -> None:
        """Nothing of a slot is ever spent, whatever its holder says, in time or after it was presumed dead."""
        lease_ms = 10 if late else 1000
        self.twins.apply(Reserve("slot", _ACCOUNT, {"concurrent_calls": 1}, lease_ms))
        for other in ("other slot", "third slot"):
            self.twins.apply(Reserve(other, _ACCOUNT, {"concurrent_calls": 1}, 1000))
        if late:
            self.twins.now_ms += lease_ms
            self.twins.apply(Expire("slot", _ACCOUNT))
        self.twins.apply(Commit("slot", _ACCOUNT, {"concurrent_calls": said}))
        for other in ("other slot", "third slot"):
            self.twins.apply(Release(other, _ACCOUNT))
