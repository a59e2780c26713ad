"""The limits of a single run, merged: the more specific budget's value holds, field by field."""

import contextlib
import itertools

import pytest

from costscope import BudgetExceeded, budget_scope, reserve
from costscope.policy.load.loader import parse_policy
from costscope.policy.model.constraints import merged_constraints, run_limits
from costscope.policy.model.patterns import specificity
from costscope.policy.resolve.resolved import resolve_budgets


def merged(labels, *budgets):
    policy = parse_policy(
        "budgets:\n" + "".join(f"- {{id: b{at}, {one}}}\n" for at, one in enumerate(budgets))
    )
    return merged_constraints(resolve_budgets(policy, labels))


LABELS = {
    "organization": "o",
    "team": "m",
    "tenant": "t",
    "user": "u",
    "strand": "s",
    "workflow": "w",
    "agent": "a",
    "run": "r",
}


def test_each_level_is_more_specific_than_the_one_above_it():
    matches = [{}, *({label: value} for label, value in LABELS.items())]
    ranks = [specificity(match, ()) for match in matches]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("match: {tenant: '*'}", "match: {tenant: t}"),
        ("match: {tenant: '*'}", "match: {tenant: 't*'}"),
        ("match: {tenant: 't*'}", "match: {tenant: t}"),
        ("match: {tenant: t}", "match: {tenant: t, user: '*'}"),
        ("match: {tenant: t, team: m}", "match: {strand: '*'}"),
        ("", "match: {plan: free}"),
        ("match: {plan: free}", "match: {tenant: '*'}"),
        ("match: {tenant: '*'}", "match: {tenant: '*'}, per: [tenant, region]"),
    ],
)
def test_the_more_specific_value_holds_also_where_it_is_larger(wide, narrow):
    labels = LABELS | {"plan": "free"}
    for first, second in itertools.permutations([(wide, 5), (narrow, 9)]):
        found = merged(
            labels,
            *(
                f"{match}{', ' if match else ''}constraints: {{iterations: {n}}}"
                for match, n in (first, second)
            ),
        )
        assert found["iterations"][0] == 9


def test_of_equals_the_smaller_one_holds():
    for one, other in ((5, 9), (9, 5)):
        found = merged(
            LABELS, *(f"match: {{tenant: t}}, constraints: {{iterations: {n}}}" for n in (one, other))
        )
        assert found["iterations"][0] == 5


def test_a_field_that_the_more_specific_one_does_not_name_is_inherited():
    found = merged(
        LABELS,
        "constraints: {iterations: 20, cost: 3, wall_clock: 1h}",
        "match: {tenant: t}, constraints: {iterations: 8, tool_calls: 2}",
        "match: {tenant: other}, constraints: {iterations: 1}",
    )
    assert found == {
        "cost": (3_000_000_000, "b0"),
        "tool_calls": (2, "b1"),
        "iterations": (8, "b1"),
        "wall_clock": (3_600_000, "b0"),
    }


def test_the_ledger_gets_the_meters_and_the_clock_by_itself():
    policy = parse_policy(
        "budgets: [{id: a, constraints: {tokens: 5, wall_clock: 1m}}, {id: b, limits: {cost: 1}}]"
    )
    assert run_limits(policy.budgets) == ((("tokens", 5),), 60_000)
    assert run_limits(policy.budgets[1:]) == ((), None)


@pytest.mark.parametrize(
    ("labels", "turns"),
    [
        ({"workflow": "chat"}, 2),
        ({"workflow": "research"}, 4),
        ({"workflow": "research", "tenant": "small"}, 3),
    ],
)
def test_a_run_has_the_turns_of_the_most_specific_budget_and_hard_limits_hold_all_the_same(
    make_runtime, labels, turns
):
    """The specific budget may give more than the general one; a limit of iterations is no constraint."""
    runtime = make_runtime(
        policy={
            "budgets": [
                {"id": "everybody", "constraints": {"iterations": 2, "tool_calls": 1}},
                {"id": "research", "match": {"workflow": "research"}, "constraints": {"iterations": 4}},
                {"id": "small", "match": {"tenant": "small"}, "limits": {"iterations": 3}},
            ]
        }
    )
    for name in ("r1", "r2") if "tenant" not in labels else ("r1",):
        with budget_scope(**labels, run=name, runtime=runtime) as run:
            done = 0
            with contextlib.suppress(BudgetExceeded):
                for _ in run.iterations():
                    done += 1
            assert done == turns
            with reserve(tool="t", runtime=runtime):
                pass
            with pytest.raises(BudgetExceeded) as caught, reserve(tool="t", runtime=runtime):
                pass
            assert (caught.value.meter, caught.value.limit) == ("tool_calls", 1)  # inherited from everybody
