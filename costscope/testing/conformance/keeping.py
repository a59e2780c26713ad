"""What is forgotten, when, and what reports show of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger import Account, Commit, Outcome, Reserve, new_id
from costscope.testing.conformance.callers import KEEP_MS, LEASE_MS, RUN, TENANT, balance, pair, reserve

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores import Store
    from costscope.testing.conformance.callers import Execute


class Keeping:
    """Nothing is kept for ever that was not asked for, and nothing is lost before."""

    def test_an_idle_account_is_forgotten_after_its_keeping_time(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """Runs come and go by the million; their accounts go with them."""
        account = Account("idle", (("cost", 100),), keep_ms=50)
        execute(*pair((account,), {"cost": 60}))
        advance(100)
        assert balance(execute, account) == (0, 0)
        assert reserve(execute, account, 100).outcome is Outcome.GRANTED

    def test_what_a_hold_has_beside_a_forgotten_account_is_settled(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """One account is forgotten while no process looks: the other must not hold it for ever."""
        short, lasting = Account("short", (("cost", 100),), keep_ms=50), Account("lasting", (("cost", 100),))
        execute(Reserve(new_id(), (short, lasting), {"cost": 60}, LEASE_MS, "release"))
        advance(100)
        assert reserve(execute, lasting, 100).outcome is Outcome.GRANTED
        assert balance(execute, lasting) == (0, 100)

    def test_a_settled_hold_is_forgotten_after_its_keeping_time(
        self, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """From then on its id is unknown."""
        hold = new_id()
        execute(Reserve(hold, (RUN,), {"cost": 60}, LEASE_MS), Commit(hold, (RUN,), {"cost": 10}, 30))
        advance(60)
        assert execute(Commit(hold, (RUN,), {"cost": 10}, KEEP_MS))[0].outcome is Outcome.ORPHAN
        assert balance(execute, RUN) == (20, 0, 0, 0)

    def test_a_snapshot_shows_every_account_and_every_live_hold(self, store: Store, execute: Execute) -> None:
        """At one instant, counted to the unit."""
        hold, about = new_id(), '{"budget":"per-run"}'
        account = Account("run/r-2", (("cost", 100),), about=about)
        execute(*pair((account,), {"cost": 60}, {"cost": 65}))
        execute(Reserve(hold, (account,), {"cost": 30}, LEASE_MS))
        snapshot = store.snapshot()
        (shown,) = snapshot.accounts
        counters = shown.meters["cost"]
        assert (shown.key, shown.about, shown.drop_ms) == ("run/r-2", about, 0)
        assert (counters.spent, counters.held, counters.reserved) == (65, 30, 90)
        assert (counters.settled, counters.overrun, counters.refund) == (60, 5, 0)
        (live,) = snapshot.holds
        assert (live.id, live.lines) == (hold, (("run/r-2", "cost", 30),))
        assert 0 < live.deadline_ms - snapshot.now_ms <= LEASE_MS

    def test_an_audit_finds_live_and_lost_holds_exact(
        self, store: Store, execute: Execute, advance: Callable[[int], None]
    ) -> None:
        """Also one that is not presumed yet, and one whose account is forgotten."""
        short = Account("short", (("cost", 100),), keep_ms=40)
        execute(
            Reserve(new_id(), (RUN, TENANT), {"cost": 5}, 1),
            Reserve(new_id(), (short,), {"cost": 5}, LEASE_MS),
            Reserve(new_id(), (RUN,), {"cost": 7}, LEASE_MS),
        )
        advance(80)
        report = store.audit()
        assert report.exact, report.differences
        assert report.now_ms > 0
