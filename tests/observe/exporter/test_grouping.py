"""Which accounts share a series: the cardinality is bounded, and the sums are exact."""

import math

import pytest
from books_of import NOON_MS, account
from hypothesis import given
from hypothesis import strategies as st
from published import Published

from costscope.errors import InvalidInput
from costscope.observe.exporter.grouping import Grouping

USD = 10**9
COST = "budget=day,meter=cost"


def tenant(name, spent, limit=USD, **more):
    return account("day", {"tenant": name}, limits={"cost": limit}, meters={"cost": spent}, **more)


def test_ten_thousand_accounts_are_fifty_series_and_one_for_the_rest():
    accounts = [tenant(f"t{at:05}", at * 1000, 10**8) for at in range(10_000)]
    found = Published().of(*accounts)
    spent = {name: value for name, value in found.items() if name.startswith("budget_spent")}
    assert len(spent) == 51
    assert f"budget_spent{{{COST},tenant=t09999}}" in spent, "the fullest have series of their own"
    assert f"budget_spent{{{COST},tenant=t09950}}" in spent
    assert f"budget_spent{{{COST},tenant=t09949}}" not in spent
    assert found["budget_accounts{budget=day,tenant=other}"] == 9950
    assert math.fsum(spent.values()) == pytest.approx(sum(range(10_000)) * 1000 / USD)
    assert len(found) <= 51 * 10


def test_the_bound_is_for_each_budget():
    accounts = [account(f"b{at % 3}", {"tenant": f"t{at}"}, meters={"cost": at}) for at in range(300)]
    found = Published(top=10).of(*accounts)
    assert sum(name.startswith("budget_spent") for name in found) == 33


def test_of_the_rest_the_worst_shows():
    seen = Published(top=1)
    found = seen.of(tenant("a", 900), tenant("b", USD // 2), tenant("c", USD // 4))
    assert found[f"budget_utilization_ratio{{{COST},tenant=b}}"] == 0.5
    assert found[f"budget_utilization_ratio{{{COST},tenant=other}}"] == 0.25
    assert found[f"budget_limit{{{COST},tenant=other}}"] == 2


def test_the_first_to_be_exhausted_is_the_time_of_the_rest():
    seen = Published(top=1)

    def at(seconds, b, c):
        rows = (tenant("a", USD), tenant("b", b, window=(0, 0)), tenant("c", c, window=(0, 0)))
        return seen.of(*rows, now_ms=NOON_MS + seconds * 1000)

    at(0, 0, 0)
    found = at(10, USD // 10, USD // 100)
    assert found[f"budget_time_to_exhaustion_seconds{{{COST},tenant=other}}"] == pytest.approx(90)
    assert found[f"budget_burn_rate{{{COST},tenant=other}}"] == pytest.approx(0.011)


def test_accounts_that_stand_close_together_do_not_take_turns():
    seen = Published(top=1)
    assert f"budget_spent{{{COST},tenant=a}}" in seen.of(tenant("a", USD // 2), tenant("b", USD // 2 - 1))
    assert f"budget_spent{{{COST},tenant=a}}" in seen.of(tenant("a", USD // 2), tenant("b", USD // 2 + 1))
    found = seen.of(tenant("a", USD // 2), tenant("b", USD // 2 + USD // 10))
    assert f"budget_spent{{{COST},tenant=b}}" in found


def test_a_tenant_called_other_is_no_second_series():
    found = Published(top=2).of(tenant("other", 900), tenant("b", 500), tenant("c", 300), tenant("d", 1))
    assert found["budget_accounts{budget=day,tenant=other}"] == 3
    assert found[f"budget_spent{{{COST},tenant=other}}"] == pytest.approx(1201 / USD)


def test_labels_that_are_not_asked_for_are_added_up():
    accounts = [
        account("day", {"tenant": "acme", "region": region}, limits={"cost": USD}, meters={"cost": USD // 4})
        for region in ("eu", "us")
    ]
    found = Published().of(*accounts)
    assert found[f"budget_limit{{{COST},tenant=acme}}"] == 2
    assert found["budget_accounts{budget=day,tenant=acme}"] == 2
    assert found[f"budget_utilization_ratio{{{COST},tenant=acme}}"] == 0.25


def test_a_label_that_the_scopes_lack_is_not_one_that_the_budget_does_not_split_by():
    found = Published().of(account("day", {"tenant": None}))
    assert f"budget_spent{{{COST},tenant=(none)}}" in found


def test_runs_are_no_label_unless_asked():
    run = account("~run", {"tenant": "acme", "run": "r-17"}, window=(0, 0), meters={"cost": (5, 1)})
    assert "budget_spent{budget=~run,meter=cost,tenant=acme}" in Published().of(run)
    asked = Published(labels=("tenant", "run")).of(run)
    assert "budget_spent{budget=~run,meter=cost,tenant=acme,run=r-17}" in asked


@pytest.mark.parametrize("budget", ["~run", "~scope", "per-run"])
def test_a_run_counts_while_it_is_alive(budget):
    seen = Published(window_s=60)

    def at(seconds, spent, held):
        run = account(
            budget, {"run": "r"}, window=(0, 0), limits={"cost": 100}, meters={"cost": (spent, held)}
        )
        return f"budget_utilization_ratio{{budget={budget},meter=cost}}" in seen.of(
            run, now_ms=NOON_MS + seconds * 1000
        )

    assert not at(0, 100, 0), "over before we looked"
    assert at(1, 100, 1), "something is held"
    assert not at(2, 100, 0)
    assert at(3, 101, 0), "something was spent"
    assert at(60, 101, 0)
    assert not at(90, 101, 0), "and nothing more for a minute"


@pytest.mark.parametrize("label", ["budget", "meter", "__name__", "no-hyphen", "", "größe"])
def test_a_label_that_cannot_be_one_is_refused(label):
    with pytest.raises(InvalidInput, match="label"):
        Grouping((label,))


def test_at_least_one_account_has_series_of_its_own():
    with pytest.raises(InvalidInput, match="top 0"):
        Grouping(top=0)


@given(
    spent=st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", None, "other"]), st.integers(0, USD)),
        max_size=30,
        unique_by=lambda one: one[:2],
    ),
    top=st.integers(1, 5),
)
def test_however_they_are_grouped_nothing_is_lost_or_counted_twice(spent, top):
    accounts = [
        account("day", {"tenant": tenant, "user": user}, meters={"cost": amount})
        for tenant, user, amount in spent
    ]
    found = Published(top=top).of(*accounts)
    sums = [value for name, value in found.items() if name.startswith("budget_spent")]
    assert math.fsum(sums) == pytest.approx(sum(amount for *_, amount in spent) / USD)
    assert len(sums) <= top + 1
    assert sum(value for name, value in found.items() if name.startswith("budget_accounts")) == len(spent)
