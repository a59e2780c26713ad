"""From a snapshot to series: names, units, labels."""

import math

import pytest
from books_of import DAY_MS, NOON_MS, account
from published import Published, as_dict

from costscope.observe.exporter.series import rules, status
from costscope.policy.load.loader import parse_policy

USD = 10**9


def test_what_is_published_of_an_account():
    found = Published().of(
        account("day", {"tenant": "acme"}, limits={"cost": 4 * USD}, meters={"cost": (USD, USD // 2)})
    )
    rate = 1 / (DAY_MS / 2000)
    place = "{budget=day,meter=cost,tenant=acme}"
    assert found == pytest.approx(
        {
            f"budget_limit{place}": 4,
            f"budget_spent{place}": 1,
            f"budget_held{place}": 0.5,
            f"budget_remaining{place}": 2.5,
            f"budget_utilization_ratio{place}": 0.375,
            f"budget_burn_rate{place}": rate,
            f"budget_time_to_exhaustion_seconds{place}": 2.5 / rate,
            f"budget_reset_seconds{place}": DAY_MS / 2000,
            "budget_accounts{budget=day,tenant=acme}": 1,
            "budget_halted{budget=day,tenant=acme}": 0,
        }
    )


def test_other_meters_than_cost_are_published_as_they_are_counted():
    found = Published().of(account(limits={"tokens": 9000}, meters={"tokens": (3000, 0)}))
    assert found["budget_spent{budget=day,meter=tokens}"] == 3000
    assert found["budget_limit{budget=day,meter=tokens}"] == 9000


def test_a_budget_that_nobody_spends_is_never_exhausted_and_one_without_a_window_never_resets():
    seen = Published()
    spent = account(window=(0, 0), meters={"cost": 5})
    seen.of(spent)
    found = seen.of(spent, now_ms=NOON_MS + 1000)
    assert found["budget_burn_rate{budget=day,meter=cost}"] == 0
    assert found["budget_time_to_exhaustion_seconds{budget=day,meter=cost}"] == math.inf
    assert "budget_reset_seconds{budget=day,meter=cost}" not in found


def test_a_spent_budget_is_exhausted_and_its_remainder_is_never_negative():
    found = Published().of(account(limits={"cost": 10}, meters={"cost": 25}))
    assert found["budget_time_to_exhaustion_seconds{budget=day,meter=cost}"] == 0
    assert found["budget_remaining{budget=day,meter=cost}"] == 0
    assert found["budget_utilization_ratio{budget=day,meter=cost}"] == 2.5


def test_a_meter_that_nothing_limits_any_more_has_no_limit_but_is_counted():
    found = Published().of(account(limits={}, meters={"cost": 3 * USD}))
    assert found["budget_spent{budget=day,meter=cost}"] == 3
    assert not [name for name in found if name.startswith(("budget_limit", "budget_util", "budget_time"))]


def test_taken_slots_are_active_runs_and_calls_and_do_not_burn():
    found = Published().of(
        account(
            "day~slots",
            {"tenant": "acme"},
            window=(0, 0),
            limits={"concurrent_runs": 50, "concurrent_calls": 200},
            meters={"concurrent_runs": (0, 12), "concurrent_calls": (0, 40)},
        )
    )
    assert found["active_runs{budget=day,tenant=acme}"] == 12
    assert found["active_calls{budget=day,tenant=acme}"] == 40
    assert found["budget_utilization_ratio{budget=day,meter=concurrent_runs,tenant=acme}"] == 0.24
    assert not [name for name in found if name.startswith(("budget_spent", "budget_burn"))]


def test_orders_to_stop_are_counted():
    found = Published().of(account("day", {"tenant": "acme"}, meters={"cost": 1, "halts": 1}))
    assert found["budget_halted{budget=day,tenant=acme}"] == 1
    assert not [name for name in found if "halts" in name]


def test_a_window_that_is_over_is_not_published():
    yesterday = (NOON_MS - 36 * 3_600_000, NOON_MS - 12 * 3_600_000)
    found = Published().of(
        account(window=yesterday, meters={"cost": 9 * USD}), account(meters={"cost": 2 * USD})
    )
    assert found["budget_spent{budget=day,meter=cost}"] == 2


def test_the_budgets_of_a_policy_say_what_they_enforce():
    policy = parse_policy(
        "budgets: [{id: a, period: daily, limits: {cost: 1}}, {id: b, enforcement: shadow, limits: {cost: 1}}]"
    )
    assert as_dict([rules(policy)]) == {
        "budget_info{budget=a,enforcement=hard,period=daily}": 1,
        "budget_info{budget=b,enforcement=shadow,period=total}": 1,
    }


def test_what_is_said_of_the_ledger_as_a_whole():
    found = as_dict(
        status(holds=3, differences=0, accounts=7, events={"runaway": 2, "denied": 0}, seconds=0.5)
    )
    assert found == {
        "exporter_up{}": 1,
        "live_holds{}": 3,
        "audit_differences{}": 0,
        "ledger_accounts{}": 7,
        "exporter_read_seconds{}": 0.5,
        "events{type=runaway}": 2,
        "events{type=denied}": 0,
    }
