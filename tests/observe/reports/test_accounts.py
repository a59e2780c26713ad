"""Accounts of a snapshot as rows."""

from books_of import account, snapshot

from costscope.observe.reports.account_rows import account_rows


def test_a_row_says_what_the_account_is_about():
    [row] = account_rows(
        snapshot(
            account("day", {"tenant": "acme", "user": None}, meters={"cost": (5, 2)}, limits={"cost": 9})
        )
    )
    assert row.name == "day  tenant=acme user=(none)"
    assert (row.window_start.hour, row.window_end.hour, row.own, row.halted) == (0, 0, False, False)
    [line] = row.meters
    assert (line.meter, line.limit, line.counters.spent, line.counters.held, line.spends) == (
        "cost",
        9,
        5,
        2,
        True,
    )


def test_an_account_without_a_window_never_resets():
    [row] = account_rows(snapshot(account(window=(0, 0))))
    assert (row.window_start, row.window_end) == (None, None)


def test_limits_of_scopes_come_last_and_are_named_without_their_mark():
    rows = account_rows(
        snapshot(
            account("~scope", {"run": "r"}, window=(0, 0)), account("~run", {}, window=(0, 0)), account("zzz")
        )
    )
    assert [row.name for row in rows] == ["zzz", "run", "scope  run=r"]
    assert [row.own for row in rows] == [False, True, True]


def test_the_slots_of_a_budget_are_its_own_though_they_stand_in_another_account():
    [row] = account_rows(
        snapshot(
            account(
                "day~slots", window=(0, 0), limits={"concurrent_runs": 5}, meters={"concurrent_runs": (0, 3)}
            )
        )
    )
    assert row.budget == "day"
    [line] = row.meters
    assert (line.counters.held, line.limit, line.spends) == (3, 5, False)


def test_an_order_to_stop_is_no_meter_but_a_mark():
    [row] = account_rows(snapshot(account("~run", window=(0, 0), meters={"cost": 1, "halts": 1})))
    assert row.halted
    assert [line.meter for line in row.meters] == ["cost"]
