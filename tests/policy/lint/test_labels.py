"""Labels that look misspelt."""

import pytest


@pytest.mark.parametrize(
    ("budget", "place", "near"),
    [
        ("match: {tennant: x}", "match.tennant", "tenant"),
        ("match: {tenant_id: '*'}", "match.tenant_id", "tenant"),
        ("per: [team, users]", "per[1]", "user"),
        ("match: {organisation: null}", "match.organisation", "organization"),
    ],
)
def test_a_label_that_is_nearly_a_usual_one(of_budgets, budget, place, near):
    [(found, problem)] = of_budgets(f"limits: {{cost: 1}}, {budget}").items()
    assert found == f"$.budgets[0].{place}"
    assert f"did you mean {near}?" in problem


@pytest.mark.parametrize(
    "budget",
    [
        "match: {tenant: x, user: '*', run: null}, per: [organization, agent]",
        "match: {region: x}, per: [customer, plan]",
        "match: {user: x, users: y}",
        "match: {stage: planning}",
    ],
)
def test_usual_labels_and_those_that_are_like_none(of_budgets, budget):
    assert of_budgets(f"limits: {{cost: 1}}, {budget}") == {}


def test_of_routes_and_of_runaways(warnings_of):
    found = warnings_of(
        "routing: [{id: r, match: {strands: x}, stages: [{max_tokens: 1}]}]\nrunaway: {match: {workflw: x}}\n"
    )
    assert set(found) == {"$.routing[0].match.strands", "$.runaway.match.workflw"}
