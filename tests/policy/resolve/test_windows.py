"""Windows at work, by a clock that is moved: several periods at once, and one account per user that nobody forgets
while its window lasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tool_calls import caller

from costscope import BudgetExceeded, budget_scope, reserve
from costscope.ledger.times import KEEP_AFTER_MS
from costscope_valkey.keys import LedgerKeys
from costscope_valkey.url import parse_url

DAY_AND_MONTH = {
    "budgets": [
        {"id": "day", "match": {"tenant": "*"}, "per": ["tenant"], "period": "daily", "limits": {"cost": 10}},
        {
            "id": "month",
            "match": {"tenant": "*"},
            "per": ["tenant"],
            "period": "monthly",
            "limits": {"cost": 25},
        },
        {"id": "ever", "match": {"tenant": "*"}, "per": ["tenant"], "limits": {"cost": 40}},
    ]
}
USERS = {
    "budgets": [
        {"id": "users", "match": {"user": "*"}, "per": ["user"], "period": "monthly", "limits": {"cost": 1}}
    ]
}


def test_a_day_a_month_and_a_total_over_the_same_scope(moved, moved_clock, colour):
    call = caller(colour, moved(DAY_AND_MONTH))

    def refused():
        with pytest.raises(BudgetExceeded) as caught:
            call("5.01", tenant="a")
        return caught.value.budget, caught.value.resets_at

    call("10", tenant="a")
    assert refused() == ("day", datetime(2040, 3, 11, tzinfo=UTC))
    call("10", tenant="b")
    moved_clock.advance(timedelta(days=1))
    call("10", tenant="a")
    assert refused() == ("day", datetime(2040, 3, 12, tzinfo=UTC))
    moved_clock.advance(timedelta(days=1))
    assert refused() == ("month", datetime(2040, 4, 1, tzinfo=UTC))
    call("5", tenant="a")
    moved_clock.set(datetime(2040, 4, 1, tzinfo=UTC))
    call("10", tenant="a")
    moved_clock.advance(timedelta(days=1))
    assert refused() == ("ever", None)
    call("5", tenant="a")


def test_a_window_begins_and_ends_to_the_millisecond(moved, moved_clock, colour):
    call = caller(colour, moved(DAY_AND_MONTH))
    call("10", tenant="a")
    moved_clock.set(datetime(2040, 3, 10, 23, 59, 59, 999_000, tzinfo=UTC))
    with pytest.raises(BudgetExceeded):
        call("0.01", tenant="a")
    moved_clock.advance(0.001)
    call("10", tenant="a")


@pytest.mark.parametrize(
    ("zone", "begins", "hours"),
    [
        (
            "America/Santiago",
            datetime(2040, 9, 2, 4, tzinfo=UTC),
            23,
        ),  # the first day of summer has no midnight
        ("Europe/Berlin", datetime(2040, 10, 27, 22, tzinfo=UTC), 25),
    ],
)
def test_days_of_23_and_25_hours_at_work(moved, moved_clock, colour, zone, begins, hours):
    policy = {"budgets": [{"id": "day", "period": "daily", "timezone": zone, "limits": {"tool_calls": 1}}]}
    call = caller(colour, moved(policy))
    moved_clock.set(begins)
    call()
    with pytest.raises(BudgetExceeded) as caught:
        call()
    assert caught.value.resets_at == begins + timedelta(hours=hours)
    moved_clock.set(begins + timedelta(hours=hours, milliseconds=-1))
    with pytest.raises(BudgetExceeded):
        call()
    moved_clock.advance(0.001)
    call()


def test_one_rule_is_one_account_for_each_user(moved, colour):
    runtime = moved(USERS)
    call = caller(colour, runtime)
    for number in range(50):
        call("1", user=f"u{number}")
    for number in (0, 49):
        with pytest.raises(BudgetExceeded) as caught:
            call("0.01", user=f"u{number}")
        assert caught.value.labels == {"user": f"u{number}"}
    assert len([one for one in runtime.store.snapshot().accounts if one.key.startswith("users/")]) == 50


def test_an_idle_user_is_never_forgotten_before_the_window_ends(moved, moved_clock, colour):
    """The original's per-user limits began anew for who had been silent for a while."""
    call = caller(colour, moved(USERS))
    moved_clock.set(datetime(2040, 5, 1, tzinfo=UTC))
    call("1", user="idle")
    for day in range(2, 32):
        moved_clock.set(datetime(2040, 5, day, tzinfo=UTC))
        call("0.01", user=f"busy-{day}")  # the store tidies up as it goes
    moved_clock.set(datetime(2040, 5, 31, 23, 59, 59, 999_000, tzinfo=UTC))
    with pytest.raises(BudgetExceeded):
        call("0.01", user="idle")
    moved_clock.advance(0.001)
    call("1", user="idle")


def test_a_hold_of_the_last_second_is_settled_in_its_window_two_days_later(moved, moved_clock):
    runtime = moved(USERS)
    moved_clock.set(datetime(2040, 5, 31, 23, 59, 59, tzinfo=UTC))
    with budget_scope(user="u", runtime=runtime):
        hold = reserve(tool="t", price="1", runtime=runtime)
        hold.__enter__()
        moved_clock.advance(timedelta(hours=47))
        hold.commit("0.25")
        hold.__exit__(None, None, None)
    [account] = [one for one in runtime.store.snapshot().accounts if one.key.startswith("users/")]
    assert account.meters["cost"].spent == 250_000_000
    assert runtime.audit().exact


def test_what_is_over_is_forgotten_only_after_every_late_commit(moved, moved_clock, store_kind, request):
    runtime = moved(USERS)
    with budget_scope(user="u", runtime=runtime), reserve(tool="t", price="1", runtime=runtime):
        pass
    [account] = runtime.store.snapshot().accounts
    end_ms = int(datetime(2040, 4, 1, tzinfo=UTC).timestamp() * 1000)
    if store_kind == "valkey":
        url = parse_url(request.getfixturevalue("patient_url"))
        key = LedgerKeys(url.ledger).account_prefix + account.key
        answer = request.getfixturevalue("valkey_server").ask(f"PEXPIRETIME {key}")
        assert int(answer.removeprefix(":")) == end_ms + KEEP_AFTER_MS
        return
    moved_clock.set(datetime.fromtimestamp((end_ms + KEEP_AFTER_MS - 1) / 1000, UTC))
    assert len(runtime.store.snapshot().accounts) == 1
    moved_clock.advance(0.002)
    assert runtime.store.snapshot().accounts == ()


def test_a_total_is_never_forgotten(moved, moved_clock, colour):
    call = caller(colour, moved({"budgets": [{"id": "x", "per": ["user"], "limits": {"tool_calls": 1}}]}))
    call(user="u")
    moved_clock.advance(timedelta(days=3650))
    call(user="v")
    with pytest.raises(BudgetExceeded):
        call(user="u")
