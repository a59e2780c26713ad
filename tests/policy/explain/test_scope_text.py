"""What a policy says about one scope: the same as what a runtime does with it."""

import pytest

from costscope import Runtime, budget_scope, reserve
from costscope.policy.explain.scope_text import explain_scope
from costscope.policy.load.loader import parse_policy
from costscope.policy.model.constraints import merged_constraints
from costscope.scope.runtime import services_of

POLICY = """
budgets:
  - id: company
    limits: {cost: 100, concurrent_calls: 3}
    constraints: {iterations: 20, tokens: 1000}
  - id: tenant-day
    match: {tenant: "*"}
    per: [tenant]
    period: daily
    limits: {cost: 10, concurrent_runs: 2}
    constraints: {iterations: 8, cost: 3}
  - id: user-ever
    match: {tenant: acme, user: ["u1", "v*"]}
    per: [user]
    limits: {model_calls: 5}
    constraints: {iterations: 9, wall_clock: 10m}
  - {id: untenanted, match: {tenant: null}, limits: {cost: 1}}
routing:
  - {id: theirs, match: {tenant: globex}, stages: [{model: a}]}
  - {id: ours, match: {tenant: acme}, stages: [{model: b}]}
runaway: {match: {tenant: acme}}
"""
NOW_MS = 1_760_000_000_000
ACME = {"tenant": "acme", "user": "u1", "run": "r1"}


@pytest.fixture
def policy():
    return parse_policy(POLICY)


def test_the_budgets_that_cover_it_the_most_specific_first(policy):
    said = explain_scope(policy, ACME, NOW_MS)
    assert [one.budget.id for one in said.budgets] == ["user-ever", "tenant-day", "company"]


def test_the_accounts_it_names_are_those_that_a_call_and_a_run_really_use(policy):
    """Whatever a runtime writes into its books is named, and nothing else."""
    with Runtime(policy=policy) as runtime:
        with budget_scope(**ACME, runtime=runtime), reserve(tool="t", price="0.10", runtime=runtime):
            pass
        used = {one.key for one in runtime.store.snapshot().accounts if not one.key.startswith("~run/")}
        said = explain_scope(policy, ACME, services_of(runtime).now_ms())
    assert {key for one in said.budgets for key in one.accounts} == used


def test_why_the_others_do_not(policy):
    assert explain_scope(policy, ACME, NOW_MS).not_met == {"untenanted": "only where tenant is absent"}
    said = explain_scope(policy, {"tenant": "globex", "user": "u1"}, NOW_MS)
    assert said.not_met == {
        "user-ever": "only where tenant is acme, not globex",
        "untenanted": "only where tenant is absent",
    }
    said = explain_scope(policy, {"tenant": "acme", "user": "x"}, NOW_MS)
    assert said.not_met["user-ever"] == "only where user is u1 or v*, not x"
    assert (
        explain_scope(policy, {"team": "x"}, NOW_MS).not_met["tenant-day"] == "only where tenant is present"
    )


def test_the_limits_of_its_runs_name_the_budget_they_are_from_and_what_that_one_replaces(policy):
    said = explain_scope(policy, ACME, NOW_MS).constraints
    assert {field: (one.limit, one.budget) for field, one in said.items()} == {
        "cost": ("USD 3.00", "tenant-day"),
        "tokens": ("1,000 tokens", "company"),
        "iterations": ("9 iterations", "user-ever"),
        "wall_clock": ("10m of wall clock", "user-ever"),
    }
    assert said["iterations"].instead_of == {"tenant-day": "8 iterations", "company": "20 iterations"}
    merged = merged_constraints(policy.budgets[:3])
    assert {field: owner for field, (_, owner) in merged.items()} == {
        field: one.budget for field, one in said.items()
    }


def test_only_the_routes_and_the_detection_that_concern_it(policy):
    ours = explain_scope(policy, ACME, NOW_MS)
    assert [one.id for one in ours.routes] == ["ours"]
    assert ours.runaway.startswith("where tenant is acme: 3 failures")
    theirs = explain_scope(policy, {"tenant": "globex"}, NOW_MS)
    assert ([one.id for one in theirs.routes], theirs.runaway) == (["theirs"], "")


def test_limits_of_runs_in_budgets_that_are_not_hard_only_tell_and_loosen_nothing():
    policy = parse_policy("""
budgets:
  - {id: all, constraints: {iterations: 5}}
  - {id: soft-all, constraints: {iterations: 4, cost: 2}, enforcement: soft}
  - {id: soft-tenant, match: {tenant: acme}, constraints: {iterations: 9}, enforcement: soft}
  - {id: shadow, match: {tenant: acme}, constraints: {tool_calls: 1}, enforcement: shadow}
""")
    said = explain_scope(policy, ACME, NOW_MS)
    assert {field: (one.limit, one.budget) for field, one in said.constraints.items()} == {
        "iterations": ("5 iterations", "all")
    }
    assert {(one.limit, one.budget, one.enforcement) for one in said.observed} == {
        ("USD 2.00", "soft-all", "soft"),
        ("9 iterations", "soft-tenant", "soft"),
        ("1 tool call", "shadow", "shadow"),
    }
