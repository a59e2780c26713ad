"""Ids, commits and releases: what is applied once, and what is never refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger import MAX_AMOUNT, Commit, Denial, Forgive, Outcome, Release, Reserve, new_id
from costscope.testing.conformance.callers import KEEP_MS, LEASE_MS, RUN, TENANT, balance, pair, reserve

if TYPE_CHECKING:
    from costscope.stores import Store
    from costscope.testing.conformance.callers import Execute


class Settlement:
    """One id, one payload, one end."""

    def test_a_repeated_reserve_is_answered_and_not_applied_again(self, execute: Execute) -> None:
        """The reply to the first one may have been lost."""
        command = Reserve(new_id(), (RUN,), {"cost": 60}, LEASE_MS)
        assert [execute(command)[0].outcome for _ in range(3)] == [Outcome.GRANTED] * 3
        assert balance(execute, RUN) == (0, 60, 0, 0)

    def test_an_id_stands_for_one_payload(self, execute: Execute) -> None:
        """The same id with other amounts or accounts is a mistake, and changes nothing."""
        hold = new_id()
        execute(Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS))
        for other in (
            Reserve(hold, (RUN,), {"cost": 61}, LEASE_MS),
            Reserve(hold, (RUN,), {"cost": 60, "tokens": 0}, LEASE_MS),
            Reserve(hold, (RUN, TENANT), {"cost": 60}, LEASE_MS),
            Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS, "release"),
            Commit(hold, (TENANT,), {"cost": 60}, KEEP_MS),
            Release(hold, (TENANT,), KEEP_MS),
        ):
            assert execute(other)[0].outcome is Outcome.MISMATCH, other
        assert balance(execute, RUN) == (0, 60, 0, 0)
        assert balance(execute, TENANT) == (0, 0, 0, 0)

    def test_a_denied_id_may_be_tried_again(self, execute: Execute) -> None:
        """Refusals are not remembered."""
        blocker, hold = new_id(), new_id()
        execute(Reserve(blocker, (RUN,), {"cost": 100}, LEASE_MS))
        command = Reserve(hold, (RUN,), {"cost": 50}, LEASE_MS)
        assert execute(command)[0].outcome is Outcome.DENIED
        execute(Release(blocker, (RUN,), KEEP_MS))
        assert execute(command)[0].outcome is Outcome.GRANTED

    def test_a_commit_gives_the_rest_back(self, execute: Execute) -> None:
        """What was held and not needed is free again."""
        execute(*pair((RUN, TENANT), {"cost": 60}, {"cost": 25}))
        assert balance(execute, RUN) == (25, 0, 0, 0)
        assert balance(execute, TENANT) == (25, 0, 0, 0)
        assert reserve(execute, RUN, 75).outcome is Outcome.GRANTED

    def test_a_commit_is_a_fact(self, execute: Execute) -> None:
        """More than was held lands all the same, past the limit too, and later reserves see it."""
        execute(*pair((RUN,), {"cost": 60}, {"cost": 130}))
        assert balance(execute, RUN) == (130, 0, 0, 0)
        assert reserve(execute, RUN, 1).denial == Denial("exhausted", 0, "cost", 100, 130, 0, 1)

    def test_a_meter_left_out_of_a_commit_settles_at_what_was_held(self, execute: Execute) -> None:
        """Not at nothing: the hold was paid for a reason."""
        execute(*pair((RUN,), {"cost": 60, "tokens": 10}, {"tokens": 4}))
        assert balance(execute, RUN) == (60, 0, 4, 0)

    def test_a_repeated_commit_counts_once(self, execute: Execute) -> None:
        """And one that says something else is a mismatch."""
        first, commit = pair((RUN,), {"cost": 60}, {"cost": 50})
        execute(first, commit)
        assert execute(commit)[0].outcome is Outcome.COMMITTED
        assert execute(first)[0].outcome is Outcome.GRANTED
        assert execute(Commit(commit.id, (RUN,), {"cost": 51}, KEEP_MS))[0].outcome is Outcome.MISMATCH
        assert execute(Release(commit.id, (RUN,), KEEP_MS))[0].outcome is Outcome.MISMATCH
        assert balance(execute, RUN) == (50, 0, 0, 0)

    def test_a_release_gives_everything_back(self, execute: Execute) -> None:
        """Once, however often it is sent; afterwards the id holds nothing any more."""
        hold = new_id()
        first, release = Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS), Release(hold, (RUN,), KEEP_MS)
        assert [r.outcome for r in execute(first, release, release)][1:] == [Outcome.RELEASED] * 2
        assert execute(first)[0].outcome is Outcome.CANCELLED
        assert balance(execute, RUN) == (0, 0, 0, 0)

    def test_a_release_that_overtakes_its_reserve_cancels_it(self, execute: Execute) -> None:
        """Else the reserve would hold something that will never be settled."""
        hold = new_id()
        assert execute(Release(hold, (RUN,), KEEP_MS))[0].outcome is Outcome.RELEASED
        assert execute(Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS))[0].outcome is Outcome.CANCELLED
        assert balance(execute, RUN) == (0, 0, 0, 0)

    def test_a_commit_of_an_unknown_id_lands(self, execute: Execute) -> None:
        """The money is spent once, also where the reserve is gone."""
        hold = new_id()
        commit = Commit(hold, (RUN,), {"cost": 40}, KEEP_MS)
        assert [r.outcome for r in execute(commit, commit)] == [Outcome.ORPHAN] * 2
        assert execute(Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS))[0].outcome is Outcome.CANCELLED
        assert balance(execute, RUN) == (40, 0, 0, 0)

    def test_a_commit_after_a_release_lands(self, execute: Execute) -> None:
        """The caller gave up too early; the provider has billed."""
        hold = new_id()
        execute(Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS), Release(hold, (RUN,), KEEP_MS))
        assert execute(Commit(hold, (RUN,), {"cost": 40}, KEEP_MS))[0].outcome is Outcome.ORPHAN
        assert balance(execute, RUN) == (40, 0, 0, 0)

    def test_a_sum_that_cannot_be_counted_is_refused_and_leaves_no_trace(self, execute: Execute) -> None:
        """Above 2^53-1."""
        execute(*pair((RUN,), {"cost": 1}, {"cost": MAX_AMOUNT}))
        assert execute(Commit(new_id(), (TENANT, RUN), {"cost": 1}, KEEP_MS))[0].outcome is Outcome.OVERFLOW
        assert balance(execute, RUN) == (MAX_AMOUNT, 0, 0, 0)
        assert balance(execute, TENANT) == (0, 0, 0, 0)

    def test_sums_that_only_grow_may_pass_what_can_be_counted(self, store: Store, execute: Execute) -> None:
        """Of what was forgiven as much may be spent again: they are kept modulo 2^53."""
        for amount in (MAX_AMOUNT, 9):
            for commits in (
                (Commit(new_id(), (RUN,), {"cost": amount}, KEEP_MS),),
                pair((RUN,), {"cost": 0}, {"cost": amount}),
            ):
                execute(*commits)
                execute(Forgive(new_id(), (RUN,), {"cost": MAX_AMOUNT}, KEEP_MS))
        (shown,) = store.snapshot().accounts
        counters = shown.meters["cost"]
        assert (counters.spent, counters.overrun, counters.orphan) == (0, 8, 8)
        assert store.audit().exact
