"""The verbs one by one, as examples; what may happen in any order stands in tests/stores/test_equivalence.py."""

from __future__ import annotations

import pytest

from costscope.ledger import (
    LEASE_MAX_MS,
    MAX_AMOUNT,
    PRESUMED_KEEP_MS,
    Account,
    Commit,
    Counters,
    Expire,
    Extend,
    Outcome,
    Release,
    Reserve,
)

RUN = Account("run/r-1", (("cost", 100),))
TEAM = Account("team/a", (("cost", 150), ("model_calls", 3)))
MINUTE = 60_000


def test_reserve_holds_in_every_account_or_in_none(story):
    both = (RUN, TEAM)
    assert story.outcome(Reserve("a", both, {"cost": 80, "model_calls": 1}, MINUTE)) == "GRANTED"
    assert story.balance(RUN) == (0, 80)
    assert story.balance(TEAM) == (0, 80, 0, 1)
    assert story.outcome(Reserve("b", both, {"cost": 20, "model_calls": 3}, MINUTE)) == "DENIED"
    assert story.balance(RUN) == (0, 80)


def test_commit_moves_what_was_held_to_spent_and_gives_the_rest_back(story):
    story.apply(Reserve("a", (RUN,), {"cost": 80}, MINUTE))
    assert story.outcome(Commit("a", (RUN,), {"cost": 30})) == "COMMITTED"
    assert story.counters(RUN) == Counters(spent=30, reserved=80, settled=80, refund=50)


def test_commit_is_never_refused_for_a_limit(story):
    story.apply(Reserve("a", (RUN,), {"cost": 80}, MINUTE))
    assert story.outcome(Commit("a", (RUN,), {"cost": 130})) == "COMMITTED"
    assert story.counters(RUN) == Counters(spent=130, reserved=80, settled=80, overrun=50)
    assert (
        story.outcome(Reserve("b", (RUN,), {"cost": 0}, MINUTE)) == "DENIED"
    )  # also nothing is too much now


def test_release_gives_everything_back(story):
    story.apply(Reserve("a", (RUN,), {"cost": 80}, MINUTE))
    assert story.outcome(Release("a", (RUN,), MINUTE)) == "RELEASED"
    assert story.counters(RUN) == Counters(reserved=80, released=80)


def test_release_of_an_unknown_id_leaves_a_tombstone_for_as_long_as_it_is_asked_to(story):
    story.apply(Release("a", (RUN,), MINUTE))
    assert story.outcome(Reserve("a", (RUN,), {"cost": 80}, MINUTE)) == "CANCELLED"
    story.now_ms += MINUTE
    assert story.outcome(Reserve("a", (RUN,), {"cost": 80}, MINUTE)) == "GRANTED"


def test_extend_moves_the_deadline_from_now_and_never_past_the_keeping_of_the_accounts(story):
    short = Account("short", (("cost", 100),), keep_ms=2 * MINUTE)
    story.apply(Reserve("a", (RUN,), {"cost": 1}, MINUTE))
    story.apply(Reserve("b", (short,), {"cost": 1}, MINUTE))
    story.now_ms += MINUTE - 1
    for hold in ("a", "b"):
        assert story.apply(Extend(hold, 10 * MINUTE)).outcome is Outcome.EXTENDED
    deadlines = {hold.id: hold.deadline_ms for hold in story.ledger.snapshot(story.now_ms).holds}
    assert deadlines["a"] == story.now_ms + 10 * MINUTE
    assert deadlines["b"] < story.now_ms + 2 * MINUTE
    assert story.outcome(Extend("unknown", MINUTE)) == "LOST"


def test_expire_presumes_what_is_due_and_leaves_the_rest_alone(story):
    story.apply(Reserve("a", (RUN,), {"cost": 80}, MINUTE))
    story.now_ms += MINUTE - 1
    assert story.outcome(Expire("a", (RUN,))) == "KEPT"
    story.now_ms += 1
    assert story.ledger.apply(Expire("a", (RUN,)), story.now_ms).outcome is Outcome.PRESUMED
    assert story.counters(RUN) == Counters(spent=80, reserved=80, presumed=80)


def test_a_batch_first_presumes_what_has_fallen_due(story):
    story.apply(Reserve("a", (RUN,), {"cost": 80}, MINUTE, "release"))
    story.now_ms += MINUTE
    assert story.outcome(Reserve("b", (RUN,), {"cost": 100}, MINUTE)) == "GRANTED"


def test_a_late_commit_replaces_the_presumption_for_48_hours(story):
    for hold in ("a", "b"):
        story.apply(Reserve(hold, (TEAM,), {"cost": 60}, MINUTE))
    story.now_ms += MINUTE
    assert story.balance(TEAM) == (120, 0, 0, 0)
    assert story.outcome(Commit("a", (TEAM,), {"cost": 50})) == "LATE"
    assert story.counters(TEAM) == Counters(spent=110, reserved=120, settled=60, presumed=60, refund=10)
    story.now_ms += PRESUMED_KEEP_MS
    assert story.outcome(Commit("b", (TEAM,), {"cost": 50})) == "ORPHAN"  # the presumption stands for good
    assert story.balance(TEAM)[0] == 160


def test_a_late_commit_may_come_before_anybody_has_presumed_its_hold(story):
    story.apply(Reserve("a", (RUN,), {"cost": 80}, MINUTE))
    story.now_ms += MINUTE
    assert story.ledger.apply(Commit("a", (RUN,), {"cost": 90}), story.now_ms).outcome is Outcome.LATE
    assert story.counters(RUN) == Counters(spent=90, reserved=80, settled=80, overrun=10)


def test_a_commit_of_what_nobody_reserved_is_an_orphan(story):
    assert story.outcome(Commit("a", (RUN,), {"cost": 40, "tokens": 5})) == "ORPHAN"
    assert story.counters(RUN) == Counters(spent=40, orphan=40)


def test_a_settled_hold_is_forgotten_at_once_where_nobody_asks_to_keep_it(story):
    story.apply(Reserve("a", (RUN,), {"cost": 10}, MINUTE))
    story.apply(Commit("a", (RUN,), {"cost": 10}))
    assert story.ledger._holds == {}
    assert story.outcome(Commit("a", (RUN,), {"cost": 10})) == "ORPHAN"


def test_no_lease_is_longer_than_a_day(story):
    story.apply(Reserve("a", (RUN,), {"cost": 10}, 7 * LEASE_MAX_MS))
    assert story.ledger.snapshot(story.now_ms).holds[0].deadline_ms == story.now_ms + LEASE_MAX_MS


def test_a_reserve_outside_the_window_is_told_the_time(story):
    hour = Account("hour", (("cost", 9),), story.now_ms - 10, story.now_ms + 10, MINUTE)
    assert story.outcome(Reserve("a", (hour,), {"cost": 1}, MINUTE)) == "GRANTED"
    story.now_ms += 10
    reply = story.apply(Reserve("b", (RUN, hour), {"cost": 1}, MINUTE))
    assert (reply.outcome, reply.now_ms) == (Outcome.WRONG_WINDOW, story.now_ms)
    assert story.balance(RUN) == (0, 0)
    assert story.outcome(Commit("a", (hour,), {"cost": 1})) == "COMMITTED"  # where it was reserved


def test_a_capped_hold_takes_what_fits_and_an_id_keeps_its_units(story):
    capped = Reserve("a", (RUN, TEAM), {"cost": 10}, MINUTE, "charge", {"cost": 7}, 1, 50)
    assert story.apply(capped).units == 12
    assert story.apply(capped).units == 12
    assert story.balance(RUN) == (0, 94)
    few = Reserve("b", (RUN,), {"cost": 0}, MINUTE, "charge", {"cost": 7}, 1, 50)
    assert story.apply(few).denial.requested == 7


def test_sums_that_only_grow_may_pass_the_largest_amount(story):
    huge = Account("huge", (("cost", MAX_AMOUNT),))
    for n in range(3):
        story.apply(Reserve(f"h{n}", (huge,), {"cost": MAX_AMOUNT}, MINUTE))
        story.apply(Release(f"h{n}", (huge,)))
    assert story.counters(huge).reserved == story.counters(huge).released == 3 * MAX_AMOUNT & MAX_AMOUNT


@pytest.mark.parametrize("reserved", [True, False])
def test_a_commit_that_cannot_be_counted_enters_nothing(story, reserved):
    story.apply(Reserve("a", (RUN,), {"cost": 1}, MINUTE))
    story.apply(Commit("a", (RUN,), {"cost": MAX_AMOUNT - 5}))
    other = Account("other", (("cost", 100),))
    if reserved:
        story.apply(Reserve("b", (other,), {"cost": 5}, MINUTE))
    assert (
        story.outcome(Commit("b" if reserved else "c", (other,), {"cost": MAX_AMOUNT + 1 - 0})) == "OVERFLOW"
    )
    assert story.outcome(Commit("c", (other, RUN), {"cost": 6})) == "OVERFLOW"
    assert story.balance(other) == (0, 5 if reserved else 0)


def test_books_past_their_keeping_time_are_collected(story):
    hour = Account("hour", (("cost", 9),), story.now_ms, story.now_ms + MINUTE, MINUTE)
    run = Account("idle", (("cost", 9),), keep_ms=MINUTE)
    story.apply(Reserve("a", (hour, run), {"cost": 1}, MINUTE))
    story.apply(Commit("a", (hour, run), {"cost": 1}, MINUTE))
    story.now_ms += 2 * MINUTE
    story.apply(Reserve("b", (RUN,), {"cost": 1}, MINUTE))
    assert set(story.ledger._books) == {"run/r-1"}
    assert set(story.ledger._holds) == {"b"}


def test_another_policy_does_not_shorten_an_account(story):
    """An old process and a new one, or two that keep their leases for different times."""
    end_ms = story.now_ms + MINUTE
    long = Account("hour", (("cost", 9),), story.now_ms, end_ms, 10 * MINUTE)
    short = Account("hour", (("cost", 9),), story.now_ms, end_ms, MINUTE)
    story.apply(Reserve("a", (long,), {"cost": 1}, 9 * MINUTE))
    story.apply(Reserve("b", (short,), {"cost": 1}, MINUTE))
    story.now_ms += 5 * MINUTE
    assert story.outcome(Commit("a", (long,), {"cost": 1})) == "COMMITTED"
    assert story.balance(long) == (2, 0)


def test_deadlines_of_settled_holds_do_not_pile_up(story):
    for n in range(20_000):
        story.apply(Reserve(f"h{n}", (RUN,), {"cost": 1}, LEASE_MAX_MS))
        story.apply(Release(f"h{n}", (RUN,)))
    assert len(story.ledger._deadlines) < 5000
