"""The hypothesis state machine for queues: callers who wait with tickets, and some who do not, at a few narrow gates."""

from __future__ import annotations

import time
import uuid
from itertools import count
from typing import TYPE_CHECKING, Final

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from costscope.ledger import Account, Commit, Expire, Forgive, Ledger, Release, Reserve
from ledger_twins.twins import Twins

if TYPE_CHECKING:
    from costscope.ledger import Command
    from costscope_valkey.link import Link

__all__ = ["QueueComparison"]

_GATES: Final = (
    Account("gate/a", (("concurrent_runs", 1),)),
    Account("gate/b", (("cost", 10), ("concurrent_runs", 2)), keep_ms=8000),
    Account("gate/c", (("concurrent_calls", 1), ("tokens", 4))),
)
_WAYS: Final = tuple(
    tuple(_GATES[at] for at in way)
    for way in [(0,), (0,), (1,), (2,), (0, 1), (1, 0), (0, 2), (2, 1), (0, 1, 2), (2, 1, 0)]
)
_WANTS: Final = (
    {"concurrent_runs": 1, "concurrent_calls": 1},
    {"concurrent_runs": 1, "concurrent_calls": 1, "cost": 4, "tokens": 2},
    {"concurrent_runs": 1, "cost": 0},
    {"concurrent_runs": 0, "cost": 5},
    {"concurrent_calls": 0, "tokens": 1},
    {"concurrent_runs": 2},
    {"cost": 7},
)
_LEASE_MS: Final = 100_000

_asks = st.tuples(
    st.sampled_from(["", "", "t1", "t2", "t3", "t4", "t5"]),
    st.sampled_from(_WAYS),
    st.sampled_from(_WANTS),
    st.sampled_from([0, 20, 500, 500, 500, 3000]),
    st.sampled_from(["new", "new", "new", "own"]),
)


class QueueComparison(RuleBasedStateMachine):
    """Drives both hosts; what they are is set by `compare_ledgers`."""

    link: Link
    source: str | None = None
    ledger: type[Ledger] = Ledger

    def __init__(self) -> None:
        super().__init__()
        now_ms = time.time_ns() // 1_000_000 + 3_600_000
        self.twins = Twins(self.link, f"gates-{uuid.uuid4().hex[:12]}", now_ms, self.source, self.ledger)
        self.ids = count()

    def teardown(self) -> None:
        self.twins.remove()

    @rule(ask=_asks)
    def ask(self, ask) -> None:
        self.twins.apply(self.command(ask))

    @rule(asks=st.lists(_asks, min_size=2, max_size=6))
    def ask_together(self, asks) -> None:
        self.twins.apply(*[self.command(ask) for ask in asks])

    @rule(which=st.integers(0, 5), end=st.sampled_from([Commit, Release]), ask=st.none() | _asks)
    def finish(self, which, end, ask) -> None:
        """One who is inside leaves; perhaps another asks in the same batch."""
        if hold := self.inside(which):
            hold_id, accounts = hold
            last = Commit(hold_id, accounts, {}) if end is Commit else Release(hold_id, accounts)
            self.twins.apply(last, *([self.command(ask)] if ask else []))

    @rule(which=st.integers(0, 5))
    def lose(self, which) -> None:
        """One who is inside dies."""
        if hold := self.inside(which):
            self.twins.now_ms += _LEASE_MS
            self.twins.apply(Expire(*hold))

    @rule(cost=st.integers(1, 12))
    def spend(self, cost) -> None:
        self.twins.apply(Commit(f"spent{next(self.ids)}", _GATES, {"cost": cost, "tokens": 1}))

    @rule()
    def forgive(self) -> None:
        self.twins.apply(Forgive(f"forgiven{next(self.ids)}", _GATES, {"cost": 100, "tokens": 100}))

    @rule(ms=st.sampled_from([1, 20, 499, 500, 3000]))
    def wait(self, ms) -> None:
        self.twins.now_ms += ms
        self.twins.check()

    @rule(which=st.integers(0, 4), by=st.sampled_from([-1, 0, 0, 1]))
    def wait_for_a_ticket(self, which, by) -> None:
        """To where a holder loses the place, or a moment beside it."""
        queues = [book.queue for book in self.twins.ledger._books.values()]
        ends = sorted({ms for queue in queues for ms in queue.values() if ms > self.twins.now_ms})
        if ends:
            self.twins.now_ms = max(self.twins.now_ms, ends[which % len(ends)] + by)
            self.twins.check()

    def command(self, ask) -> Command:
        ticket, accounts, amounts, wait_ms, hold_id = ask
        hold_id = f"hold{next(self.ids)}" if hold_id == "new" else f"of {ticket} on {accounts[0].key}"
        return Reserve(hold_id, accounts, amounts, _LEASE_MS, ticket=ticket, wait_ms=wait_ms)

    def inside(self, which) -> tuple[str, tuple[Account, ...]] | None:
        """The id and the accounts of one of the live holds."""
        live = self.twins.ledger.snapshot(self.twins.now_ms).holds
        if not live:
            return None
        hold_id = sorted(hold.id for hold in live)[which % len(live)]
        return hold_id, self.twins.ledger._holds[hold_id].request.accounts
