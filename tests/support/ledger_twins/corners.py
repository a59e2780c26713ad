"""What random histories seldom come to, a rule for each."""

from __future__ import annotations

from typing import Final

import hypothesis.strategies as st
from hypothesis.stateful import rule

from costscope.ledger import MAX_AMOUNT, Account, Commit, Expire, Release, Reserve
from ledger_twins.gates import QueueComparison
from ledger_twins.machine import LedgerComparison

__all__ = ["CornerComparison", "QueueCornerComparison"]

_SLOTS: Final = (Account("slots/many", (("concurrent_calls", 9),)),)
_CHOICE: Final = (Account("choice/1", (("cost", 9), ("tokens", 9), ("output_tokens", 9), ("halts", 9))),)
_GATE: Final = (Account("gate/corner", (("concurrent_runs", 1),)),)
_MONEY: Final = (Account("capped/1", (("cost", 100),)),)


class CornerComparison(LedgerComparison):
    """Beside everything that happens to a ledger, what seldom does."""

    @rule(said=st.sampled_from([0, 1, MAX_AMOUNT - 1, MAX_AMOUNT]), late=st.booleans())
    def say_how_many(self, said, late) -> None:
        """Nothing of a slot is ever spent, for all its holder says, in time or after it was presumed dead."""
        lease_ms = 10 if late else 1000
        self.twins.apply(Reserve("slot", _SLOTS, {"concurrent_calls": 1}, lease_ms))
        for other in ("other slot", "third slot"):
            self.twins.apply(Reserve(other, _SLOTS, {"concurrent_calls": 1}, 1000))
        if late:
            self.twins.now_ms += lease_ms
            self.twins.apply(Expire("slot", _SLOTS))
        self.twins.apply(Commit("slot", _SLOTS, {"concurrent_calls": said}))
        self.twins.apply(Commit(f"unknown slot {said}", _SLOTS, {"concurrent_calls": said}))
        for other in ("other slot", "third slot"):
            self.twins.apply(Release(other, _SLOTS))

    @rule(held=st.integers(1, 90), step=st.integers(1, 9), most=st.sampled_from([7, 50]))
    def hold_what_fits(self, held, step, most) -> None:
        """Beside another hold, which is not to be counted as free."""
        self.twins.apply(Reserve("beside", _MONEY, {"cost": held}, 1000))
        self.twins.apply(Reserve("capped", _MONEY, {}, 1000, "charge", {"cost": step}, 0, most))
        for name in ("beside", "capped"):
            self.twins.apply(Release(name, _MONEY))

    @rule(cost=st.integers(1, 3), tokens=st.integers(1, 3))
    def choose_other_meters(self, cost, tokens) -> None:
        """Two holds of one request that take different meters of the same account."""
        first = Reserve("first choice", _CHOICE, {"cost": cost, "halts": 0}, 1000)
        other = Reserve("other choice", _CHOICE, {"tokens": tokens, "output_tokens": 1}, 1000)
        self.twins.apply(first, other)
        self.twins.apply(Release("first choice", _CHOICE), Release("other choice", _CHOICE))

    @rule(begins=st.sampled_from([-60, 1]), ends=st.sampled_from([0, 60]))
    def come_outside_of_the_window(self, begins, ends) -> None:
        """Too late, too early, or in time."""
        start_ms, end_ms = self.twins.now_ms + min(begins, ends - 1), self.twins.now_ms + ends
        window = (Account(f"window/{start_ms}-{end_ms}", (("cost", 9),), start_ms, end_ms),)
        self.twins.apply(Reserve("in the window", window, {"cost": 1}, 1000))
        self.twins.apply(Release("in the window", window))


class QueueCornerComparison(QueueComparison):
    """Beside everything that happens at gates, what seldom does."""

    @rule(order=st.permutations(["t1", "t2", "t3"]))
    def come_in_any_order(self, order) -> None:
        """Two wait, the place becomes free, and a third one asks: all in one request."""
        *waiting, last = [_waiter(ticket) for ticket in order]
        self.twins.apply(_INSIDE, *waiting, Release("inside", _GATE), last)
        self.leave(order)

    @rule()
    def come_before_the_oldest(self) -> None:
        """One waits, an older one takes the place, and the oldest of all has to wait behind it: all in one request."""
        plain = Reserve("corner plain", _GATE, {"concurrent_runs": 1}, 1000)
        older, oldest, younger = _waiter("t2"), _waiter("t1"), _waiter("t3")
        left, done = Release("inside", _GATE), Release(older.id, _GATE)
        self.twins.apply(_INSIDE, _waiter("t5"), left, plain, older, oldest, done, younger)
        self.leave(["t1", "t2", "t3", "t5"])

    @rule()
    def follow_one_another(self) -> None:
        """Two wait, and each has its turn as soon as the one before has left: all in one request."""
        first, second = _waiter("t1"), _waiter("t2")
        left, done = Release("inside", _GATE), Release(first.id, _GATE)
        self.twins.apply(_INSIDE, first, second, left, first, done, second)
        self.leave(["t1", "t2"])

    def leave(self, tickets) -> None:
        """None is left there, inside or in the queue."""
        self.twins.now_ms += _WAIT_MS
        for ticket in tickets:
            self.twins.apply(Release(_waiter(ticket).id, _GATE))


_WAIT_MS: Final = 500
_INSIDE: Final = Reserve("inside", _GATE, {"concurrent_runs": 1}, 1000)


def _waiter(ticket: str) -> Reserve:
    return Reserve(f"corner {ticket}", _GATE, {"concurrent_runs": 1}, 1000, ticket=ticket, wait_ms=_WAIT_MS)
