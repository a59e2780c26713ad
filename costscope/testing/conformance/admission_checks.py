"""Which reserves are admitted, and what a refusal says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger import MAX_AMOUNT, Account, Commit, Denial, Outcome, Reserve, new_id
from costscope.testing.conformance.callers import KEEP_MS, LEASE_MS, RUN, TENANT, balance, pair, reserve

if TYPE_CHECKING:
    from costscope.testing.conformance.callers import Execute


class Admission:
    """spent + held + amount <= limit, in every account, or nowhere."""

    def test_a_limit_may_be_reached_and_not_passed(self, execute: Execute) -> None:
        """Spent + held + amount <= limit."""
        assert reserve(execute, RUN, 60).outcome is Outcome.GRANTED
        assert reserve(execute, RUN, 40).outcome is Outcome.GRANTED
        refused = reserve(execute, RUN, 1)
        assert refused.outcome is Outcome.DENIED
        assert refused.denial == Denial("in_flight", 0, "cost", 100, 0, 100, 1)
        assert reserve(execute, RUN, 0).outcome is Outcome.GRANTED

    def test_what_is_spent_counts_as_what_is_held(self, execute: Execute) -> None:
        """Until the account's window ends, it does not come back."""
        execute(*pair((RUN,), {"cost": 70}))
        refused = reserve(execute, RUN, 31)
        assert refused.denial == Denial("exhausted", 0, "cost", 100, 70, 0, 31)
        assert reserve(execute, RUN, 30).outcome is Outcome.GRANTED

    def test_all_accounts_or_none(self, execute: Execute) -> None:
        """A refusal by one account leaves no trace in the others."""
        command = Reserve(new_id(), (RUN, TENANT), {"cost": 10, "model_calls": 6}, LEASE_MS)
        (refused,) = execute(command)
        assert refused.denial == Denial("never_fits", 1, "model_calls", 5, 0, 0, 6)
        assert balance(execute, RUN) == (0, 0, 0, 0)
        assert balance(execute, TENANT) == (0, 0, 0, 0)

    def test_the_hardest_refusal_is_the_one_reported(self, execute: Execute) -> None:
        """Waiting for what is in flight is no use where another account is exhausted."""
        execute(Reserve(new_id(), (RUN,), {"cost": 95}, LEASE_MS), *pair((TENANT,), {"cost": 245}))
        (refused,) = execute(Reserve(new_id(), (RUN, TENANT), {"cost": 10}, LEASE_MS))
        assert refused.denial == Denial("exhausted", 1, "cost", 250, 245, 0, 10)
        assert refused.balances == ((0, 95, 0, 0), (245, 0, 0, 0))

    def test_an_account_counts_the_meters_it_limits_and_no_others(self, execute: Execute) -> None:
        """And a meter nothing was reserved for is left alone."""
        hold = new_id()
        execute(Reserve(hold, (RUN, TENANT), {"cost": 5, "tool_calls": 1}, LEASE_MS))
        execute(Commit(hold, (RUN, TENANT), {"cost": 5, "tool_calls": 1}, KEEP_MS))
        assert balance(execute, RUN) == (5, 0, 0, 0)
        assert balance(execute, TENANT) == (5, 0, 0, 0)

    def test_a_limit_of_zero_admits_only_nothing(self, execute: Execute) -> None:
        """Zero is a limit like any other."""
        account = Account("none", (("cost", 0),))
        assert reserve(execute, account, 0).outcome is Outcome.GRANTED
        assert reserve(execute, account, 1).denial == Denial("never_fits", 0, "cost", 0, 0, 0, 1)

    def test_amounts_up_to_the_largest_are_counted_to_the_unit(self, execute: Execute) -> None:
        """2^53-1, where floating point begins to lie."""
        account = Account("huge", (("cost", MAX_AMOUNT),))
        assert reserve(execute, account, MAX_AMOUNT - 1).outcome is Outcome.GRANTED
        refused = reserve(execute, account, 2)
        assert refused.denial == Denial("in_flight", 0, "cost", MAX_AMOUNT, 0, MAX_AMOUNT - 1, 2)
        assert reserve(execute, account, 1).outcome is Outcome.GRANTED
        assert balance(execute, account) == (0, MAX_AMOUNT)
        assert reserve(execute, account, 1).outcome is Outcome.DENIED

    def test_a_capped_hold_takes_as_many_steps_as_fit(self, execute: Execute) -> None:
        """The most every account can pay for; fewer than `units_min` is a refusal."""
        (reply,) = execute(
            Reserve(
                new_id(),
                (RUN, TENANT),
                {"cost": 10, "tokens": 0},
                LEASE_MS,
                "charge",
                {"cost": 7, "tokens": 1},
                1,
                50,
            )
        )
        assert (reply.outcome, reply.units) == (Outcome.GRANTED, 12)
        assert balance(execute, RUN) == (0, 94, 0, 12)
        capped = Reserve(new_id(), (RUN, TENANT), {"cost": 0}, LEASE_MS, "charge", {"cost": 7}, 1, 50)
        (refused,) = execute(capped)
        assert refused.denial == Denial("in_flight", 0, "cost", 100, 0, 94, 7)

    def test_a_window_is_judged_by_the_clock_of_the_store(self, execute: Execute) -> None:
        """A proposal that is out of date is answered with the time, so that the next one is right."""
        (refused,) = execute(
            Reserve(new_id(), (Account("h/0", (("cost", 9),), 1000, 2000),), {"cost": 1}, LEASE_MS)
        )
        assert refused.outcome is Outcome.WRONG_WINDOW
        now_ms = refused.now_ms
        (early,) = execute(
            Reserve(
                new_id(),
                (Account("h/2", (("cost", 9),), now_ms + 600_000, now_ms + 700_000),),
                {"cost": 1},
                LEASE_MS,
            )
        )
        assert early.outcome is Outcome.WRONG_WINDOW
        current = Account("h/1", (("cost", 9),), now_ms - 60_000, now_ms + 600_000, KEEP_MS)
        assert reserve(execute, current, 1).outcome is Outcome.GRANTED
