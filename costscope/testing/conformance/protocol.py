"""What holds for every batch: order, size, names, and many callers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger import Account, Commit, Denial, Outcome, Read, Release, Reserve, new_id
from costscope.stores import Store
from costscope.testing.conformance.callers import KEEP_MS, LEASE_MS, RUN, TENANT, balance

if TYPE_CHECKING:
    from costscope.ledger import Command
    from costscope.testing.conformance.callers import BatchSender, Execute


class Protocol:
    """A batch in, a batch out."""

    def test_it_is_a_store(self, store: Store, execute: Execute) -> None:
        """All members of the protocol are there, and an empty batch is a batch."""
        assert isinstance(store, Store)
        assert "://" in store.url
        assert execute() == []

    def test_an_unknown_account_has_spent_nothing(self, execute: Execute) -> None:
        """`Read` shows two numbers a meter, in the order of the limits, and opens no account."""
        (reply,) = execute(Read((RUN, TENANT)))
        assert reply.outcome is Outcome.READ
        assert reply.balances == ((0, 0, 0, 0), (0, 0, 0, 0))

    def test_replies_come_in_the_order_of_the_commands(self, execute: Execute) -> None:
        """And each command of a batch sees what those before it did."""
        a, b = new_id(), new_id()
        replies = execute(
            Reserve(a, (RUN,), {"cost": 60}, LEASE_MS),
            Reserve(b, (RUN,), {"cost": 60}, LEASE_MS),
            Release(a, (RUN,), KEEP_MS),
            Reserve(b, (RUN,), {"cost": 60}, LEASE_MS),
            Commit(b, (RUN,), {"cost": 50}, KEEP_MS),
            Read((RUN,)),
        )
        outcomes = [reply.outcome.name for reply in replies]
        assert outcomes == ["GRANTED", "DENIED", "RELEASED", "GRANTED", "COMMITTED", "READ"]
        assert balance(execute, RUN) == (50, 0, 0, 0)

    def test_a_batch_may_be_larger_than_one_request(self, execute: Execute) -> None:
        """A caller need not know how much a store sends at once."""
        account = Account("big", (("model_calls", 1000),))
        ids = [new_id() for _ in range(600)]
        replies = execute(*[Reserve(i, (account,), {"model_calls": 1}, LEASE_MS) for i in ids])
        assert {reply.outcome for reply in replies} == {Outcome.GRANTED}
        execute(*[Commit(i, (account,), {"model_calls": 1}, KEEP_MS) for i in ids])
        assert balance(execute, account) == (600, 0)

    def test_two_descriptions_of_one_account_are_judged_each_by_its_own(self, execute: Execute) -> None:
        """After a policy was changed, old and new processes share batches."""
        wide, narrow = Account("team", (("cost", 100),)), Account("team", (("cost", 10),))
        first, second, third = execute(
            Reserve(new_id(), (narrow,), {"cost": 50}, LEASE_MS),
            Reserve(new_id(), (wide,), {"cost": 50}, LEASE_MS),
            Reserve(new_id(), (narrow,), {"cost": 1}, LEASE_MS),
        )
        assert [r.outcome for r in (first, second, third)] == [
            Outcome.DENIED,
            Outcome.GRANTED,
            Outcome.DENIED,
        ]
        assert third.denial == Denial("in_flight", 0, "cost", 10, 0, 50, 1)

    def test_names_cannot_collide(self, execute: Execute) -> None:
        """Keys are opaque: what looks like a separator or a hash tag means nothing."""
        keys = ["a:b/c", "a/b:c", "a%3Ab/c", "%7Bx%7D", "~forgotten/1", "1", "#", "*"]
        accounts = [Account(key, (("cost", 1),)) for key in keys]
        for account in accounts:
            (reply,) = execute(Reserve(new_id(), (account,), {"cost": 1}, LEASE_MS))
            assert reply.outcome is Outcome.GRANTED, account.key
        assert [balance(execute, account) for account in accounts] == [(0, 1)] * len(keys)

    def test_many_callers_share_one_limit_exactly(self, execute: BatchSender) -> None:
        """64 at once, 160 attempts of 1 on a limit of 100."""
        account = Account("shared", (("cost", 100),))
        batches: list[list[Command]] = [
            [Reserve(new_id(), (account,), {"cost": 1}, LEASE_MS) for _ in range(1 + at % 4)]
            for at in range(64)
        ]
        replies = [reply for batch in execute.together(batches) for reply in batch]
        granted = sum(reply.outcome is Outcome.GRANTED for reply in replies)
        assert len(replies) == sum(map(len, batches))
        assert granted == account.limits[0][1]
        assert balance(execute, account) == (0, 100)

    def test_one_id_sent_by_many_is_one_hold(self, execute: BatchSender) -> None:
        """Retries may race each other."""
        command = Reserve(new_id(), (RUN,), {"cost": 60}, LEASE_MS)
        replies = execute.together([[command]] * 16)
        assert {batch[0].outcome for batch in replies} == {Outcome.GRANTED}
        assert balance(execute, RUN) == (0, 60, 0, 0)
