"""What covers a scope, remembered until a window ends: the accounts of calls, of admissions, and what may act."""

import pytest

from costscope.ledger.meters import MAX_AMOUNT
from costscope.policy.load.loader import parse_policy
from costscope.policy.resolve.resolved import FOREVER_MS, BudgetResolver

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2
RUN = {"tenant": "a", "run": "r"}


def resolver(*budgets, more=""):
    lines = "".join(f"- {{id: b{at}, {one}}}\n" for at, one in enumerate(budgets))
    return BudgetResolver(parse_policy(f"budgets:\n{lines}{more}"))


def test_an_answer_holds_until_the_first_window_ends():
    found = resolver(
        "period: daily, limits: {cost: 1}", "period: hourly, limits: {cost: 1}", "limits: {cost: 1}"
    )
    resolved = found.resolve({}, NOON)
    assert (resolved.from_ms, resolved.until_ms) == (NOON, NOON + 3_600_000)
    assert found.resolve({}, NOON + 3_599_999) is resolved
    after = found.resolve({}, NOON + 3_600_000)
    assert after is not resolved
    assert (
        after.accounts[0].key != resolved.accounts[0].key or after.accounts[1].key != resolved.accounts[1].key
    )
    assert resolver("limits: {cost: 1}").resolve({}, NOON).until_ms == FOREVER_MS


def test_labels_that_no_budget_looks_at_make_no_entries_of_their_own():
    found = resolver("per: [tenant], limits: {cost: 1}")
    first = found.resolve(RUN, NOON)
    assert all(found.resolve(RUN | {"run": f"r{at}", "trace": f"{at}"}, NOON) is first for at in range(100))
    assert found.resolve({"tenant": "a"}, NOON) is not first  # no run


def test_what_is_remembered_is_bounded():
    found = resolver("per: [user], limits: {cost: 1}")
    for at in range(10_000):
        found.resolve({"user": f"u{at}"}, NOON)
    assert len(found._found) <= 4096


def test_slots_stand_in_an_account_of_their_own_that_no_midnight_ends():
    [counters, slots] = (
        resolver("period: daily, limits: {cost: 1, concurrent_calls: 2}").resolve({}, NOON).accounts
    )
    assert [meter for meter, _ in counters.limits] == ["cost"]
    assert (slots.limits, slots.end_ms, slots.key) == ((("concurrent_calls", 2),), 0, "b0~slots//0-0")


@pytest.mark.parametrize(
    ("budget", "limits"),
    [
        ("limits: {cost: 5}", []),
        ("limits: {runs: 5}", [("runs", 5)]),
        ("limits: {concurrent_runs: 5}", [("concurrent_runs", 5)]),
        ("limits: {concurrent_calls: 5}", []),
        ("limits: {runs: 5}, enforcement: soft", [("runs", MAX_AMOUNT)]),
        ("limits: {concurrent_runs: 5}, enforcement: shadow", [("concurrent_runs", MAX_AMOUNT)]),
        ("limits: {tokens: 100}, on_limit: reject_new_runs", [("tokens", 99)]),
        ("limits: {tokens: 100}, on_limit: halt_run", [("tokens", 99)]),
        ("limits: {tokens: 100}, on_limit: downgrade_then_reject", []),
        ("limits: {tokens: 100}, thresholds: [{at: 80, actions: halt_new_runs}]", [("tokens", 79)]),
        ("limits: {tokens: 100}, thresholds: [{at: 80, actions: halt_new_runs}], on_limit: halt_run", [("tokens", 79)]),
        ("limits: {tokens: 100}, thresholds: [{at: 80, actions: halt_new_runs}], enforcement: soft", [("tokens", 79)]),
        ("limits: {tokens: 100}, thresholds: [{at: 80, actions: halt_new_runs}], enforcement: shadow", [("tokens", MAX_AMOUNT)]),
        ("limits: {tokens: 100, cost: 1}, thresholds: [{at: 80, meter: tokens, actions: halt_new_runs}]", [("cost", MAX_AMOUNT), ("tokens", 79)]),
        ("limits: {tokens: 0}, on_limit: halt_run", [("tokens", 0)]),
    ],
)  # fmt: skip
def test_what_the_admission_of_a_run_asks_for(budget, limits):
    """A level that forbids new runs is a limit one below it."""
    admission = resolver(budget).resolve(RUN, NOON).admission
    assert [pair for account in admission for pair in account.limits] == limits


def test_orders_to_admit_no_new_runs_are_looked_for_where_a_runaway_may_give_them():
    [slots] = (
        resolver("limits: {cost: 5}", more="runaway: {actions: [halt_new_runs]}").resolve(RUN, NOON).admission
    )
    assert slots.limits == (("halts", 0),)


@pytest.mark.parametrize(
    ("budgets", "fail_open"),
    [
        (["limits: {cost: 1}, on_outage: open"], True),
        (["limits: {cost: 1}, on_outage: open", "limits: {cost: 1}"], False),
        (["limits: {cost: 1}, on_outage: open, match: {tenant: other}"], False),
    ],
)
def test_a_scope_fails_open_only_if_every_budget_over_it_says_so(budgets, fail_open):
    assert resolver(*budgets).resolve(RUN, NOON).fail_open == fail_open


def test_a_clock_stands_once_at_each_budget_that_has_one():
    resolved = resolver(
        "limits: {cost: 1, concurrent_calls: 2, wall_clock: 1m}",
        "limits: {wall_clock: 2m}",
        "limits: {cost: 1}",
    ).resolve({}, NOON)
    assert sorted(budget.wall_clock_ms for _, budget in resolved.clocks) == [60_000, 120_000]
    assert {resolved.budgets[place].id for place, _ in resolved.clocks} == {"b0", "b1"}


@pytest.mark.parametrize(
    ("budget", "halts"),
    [
        ("on_limit: halt_run", True),
        ("thresholds: [{at: 50, actions: halt_run}]", True),
        ("thresholds: [{at: 50, actions: halt_new_runs}]", False),
        ("on_limit: reject_new_runs", False),
    ],
)
def test_whether_anything_may_halt_a_run(budget, halts):
    assert resolver(f"limits: {{cost: 1}}, {budget}").resolve(RUN, NOON).halts == halts


def test_constraints_come_merged():
    resolved = resolver(
        "constraints: {iterations: 5, wall_clock: 1m}", "match: {tenant: a}, constraints: {iterations: 9}"
    ).resolve(RUN, NOON)
    assert (resolved.run_limits, resolved.run_clock_ms, resolved.accounts) == (
        (("iterations", 9),),
        60_000,
        (),
    )
