"""Holds whose process died, and those whose process came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger import (
    LEASE_MAX_MS,
    Account,
    Commit,
    Expire,
    Extend,
    LostHold,
    Outcome,
    Read,
    Release,
    Reserve,
    new_id,
)
from costscope.testing.conformance.callers import KEEP_MS, LEASE_MS, RUN, balance, reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.stores import Store
    from costscope.testing.conformance.callers import Execute


class Leases:
    """A hold lasts as long as its lease, on the store's clock."""

    def test_a_lost_hold_counts_as_spent(self, execute: Execute, advance: Callable[[int], None]) -> None:
        """Its process died; the call may have reached the provider."""
        execute(Reserve(new_id(), (RUN,), {"cost": 60}, 1))
        advance(5)
        assert reserve(execute, RUN, 41).outcome is Outcome.DENIED
        assert balance(execute, RUN) == (60, 0, 0, 0)

    def test_a_lost_hold_is_given_back_where_that_was_asked(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """By the next reserve at the latest, which is admitted at once."""
        execute(Reserve(new_id(), (RUN,), {"cost": 60}, 1, "release"))
        advance(5)
        assert reserve(execute, RUN, 100).outcome is Outcome.GRANTED
        assert balance(execute, RUN) == (0, 100, 0, 0)

    def test_a_late_commit_replaces_what_was_presumed(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """The process lived after all, and knows better."""
        hold = new_id()
        execute(Reserve(hold, (RUN,), {"cost": 60}, 1))
        advance(5)
        execute(Expire(hold, (RUN,)))
        assert balance(execute, RUN) == (60, 0, 0, 0)
        commit = Commit(hold, (RUN,), {"cost": 45}, KEEP_MS)
        assert [r.outcome for r in execute(commit, commit)] == [Outcome.LATE] * 2
        assert balance(execute, RUN) == (45, 0, 0, 0)

    def test_a_late_commit_of_what_was_given_back_lands(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """`on_lost="release"` was a guess, and a commit is a fact."""
        hold = new_id()
        execute(Reserve(hold, (RUN,), {"cost": 60}, 1, "release"))
        advance(5)
        assert execute(Commit(hold, (RUN,), {"cost": 45}, KEEP_MS))[0].outcome is Outcome.ORPHAN
        assert balance(execute, RUN) == (45, 0, 0, 0)

    def test_a_late_release_takes_the_presumption_back(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """Nothing was billed after all."""
        hold = new_id()
        execute(Reserve(hold, (RUN,), {"cost": 60}, 1))
        advance(5)
        execute(Read((RUN,)))
        assert execute(Release(hold, (RUN,), KEEP_MS))[0].outcome is Outcome.RELEASED
        assert balance(execute, RUN) == (0, 0, 0, 0)

    def test_a_live_hold_is_not_presumed(self, execute: Execute) -> None:
        """`Expire` asks; the store's clock decides."""
        hold = new_id()
        execute(Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS))
        assert execute(Expire(hold, (RUN,)))[0].outcome is Outcome.KEPT
        assert execute(Expire(new_id(), (RUN,)))[0].outcome is Outcome.KEPT
        assert balance(execute, RUN) == (0, 60, 0, 0)

    def test_a_lost_hold_is_told_of_once(
        self, store: Store, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """To each listener, with what it held on; until the listener wants no more."""
        told: list[LostHold] = []
        quiet = store.on_lost(told.extend)
        lost, kept, unheard = new_id(), new_id(), new_id()
        execute(Reserve(lost, (RUN,), {"cost": 6}, 1), Reserve(kept, (RUN,), {"cost": 6}, LEASE_MS))
        advance(5)
        execute(Read((RUN,)))
        execute(Read((RUN,)))
        assert told == [LostHold(lost, (RUN.key,))]
        quiet()
        execute(Reserve(unheard, (RUN,), {"cost": 6}, 1))
        advance(5)
        execute(Read((RUN,)))
        assert [each.id for each in told] == [lost]

    def test_a_listener_that_fails_spoils_nothing(
        self, store: Store, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """The books are right however few were told of them, and the others are told."""
        told: list[LostHold] = []

        def fail_callback(lost: Sequence[LostHold]) -> None:
            raise RuntimeError(lost)

        store.on_lost(fail_callback)
        store.on_lost(told.extend)
        execute(Reserve(new_id(), (RUN,), {"cost": 60}, 1))
        advance(5)
        assert reserve(execute, RUN, 41).outcome is Outcome.DENIED
        assert len(told) == 1

    def test_a_lease_can_be_extended_while_it_lasts(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """From now on, on the store's clock; a hold that is gone is not brought back."""
        hold = new_id()
        (_, reply) = execute(Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS), Extend(hold, 1))
        assert reply.outcome is Outcome.EXTENDED
        assert reply.now_ms > 0
        advance(5)
        assert execute(Extend(hold, LEASE_MS))[0].outcome is Outcome.LOST
        assert execute(Extend(new_id(), LEASE_MS))[0].outcome is Outcome.LOST

    def test_no_lease_is_longer_than_a_day(self, store: Store, execute: Execute) -> None:
        """A longer call extends its hold."""
        execute(Reserve(new_id(), (RUN,), {"cost": 1}, 10 * LEASE_MAX_MS))
        snapshot = store.snapshot()
        assert snapshot.holds[0].deadline_ms <= snapshot.now_ms + LEASE_MAX_MS

    def test_a_call_settles_in_the_window_it_was_reserved_in(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """Also when that has ended since."""
        hold, granted = new_id(), None
        while granted is not Outcome.GRANTED:  # a busy machine may let the window pass before it is used
            (reply,) = execute(
                Reserve(new_id(), (Account("w/0", (("cost", 9),), 1, 2),), {"cost": 1}, LEASE_MS)
            )
            ending = Account(f"w/{reply.now_ms}", (("cost", 9),), 1, reply.now_ms + 200, KEEP_MS)
            granted = execute(Reserve(hold, (ending,), {"cost": 5}, LEASE_MS))[0].outcome
        advance(250)
        assert reserve(execute, ending, 1).outcome is Outcome.WRONG_WINDOW
        assert execute(Commit(hold, (ending,), {"cost": 4}, KEEP_MS))[0].outcome is Outcome.COMMITTED
        assert balance(execute, ending) == (4, 0)
