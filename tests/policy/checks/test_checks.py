"""Semantic errors: budgets no scope can reach and limits that are none, each with its line."""

import pytest

from costscope.errors import InvalidPolicy
from costscope.policy.checks.policy_checks import check_policy
from costscope.policy.load.loader import parse_policy


def budget_yaml(**changes):
    fields = {"id": "x", "limits": '{cost: "1"}'} | changes
    return "budgets:\n  -\n" + "".join(f"    {name}: {value}\n" for name, value in fields.items())


def refusal(**changes):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(budget_yaml(**changes), file="budgets.yaml")
    return caught.value


@pytest.mark.parametrize("name", ["''", "a b", "a/b", "~scope", "é", "x" * 65, '"a\\n"'])
def test_ids_that_could_not_be_part_of_a_key(name):
    error = refusal(id=name)
    assert (error.line, error.path) == (3, "$.budgets[0].id")
    assert "1 to 64 letters" in error.problem


def test_two_budgets_with_one_id():
    text = (
        "budgets:\n- id: a\n  limits: {cost: 1}\n- id: b\n  limits: {cost: 1}\n- id: a\n  limits: {cost: 1}\n"
    )
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text)
    assert (caught.value.line, caught.value.path) == (6, "$.budgets[2].id")
    assert "the id of budgets[0] too" in caught.value.problem


@pytest.mark.parametrize(
    ("match", "place", "problem"),
    [
        ("{tenant: []}", ".tenant", "the list is empty"),
        ("{tenant: ''}", ".tenant", "is empty"),
        ("{tenant: [a, '']}", ".tenant[1]", "is empty"),
        ('{tenant: "a\\nb"}', ".tenant", "control character"),
        ('{tenant: "a\\0*"}', ".tenant", "control character"),
        (f"{{tenant: {'x' * 129}}}", ".tenant", "the limit is 128"),
        (f"{{tenant: '*{'x' * 129}*'}}", ".tenant", "the limit is 128"),
        ("{Tenant: a}", ".Tenant", "is not a label name"),
        ("{'a b': null}", "['a b']", "is not a label name"),
        ("{'': a}", "['']", "is not a label name"),
    ],
)
def test_a_match_that_no_scope_can_meet(match, place, problem):
    error = refusal(match=match)
    assert (error.line, error.path) == (5, f"$.budgets[0].match{place}")
    assert problem in error.problem


@pytest.mark.parametrize(
    "match", ["{tenant: '*'}", f"{{tenant: '{'*' * 200}'}}", "{tenant: '{a:b}'}", "{_a1: 😀}"]
)
def test_matches_that_some_scope_can_meet(match):
    assert parse_policy(budget_yaml(match=match)).budgets


@pytest.mark.parametrize(
    ("changes", "path", "problem"),
    [
        ({"per": "[tenant, Run]"}, "$.budgets[0].per[1]", "is not a label name"),
        ({"per": "[run, tenant, run]"}, "$.budgets[0].per[2]", "listed twice"),
        ({"per": "[user]", "match": "{user: null}"}, "$.budgets[0].per[0]", "requires user to be absent"),
        (
            {"per": f"[{', '.join(f'l{n}' for n in range(17))}]"},
            "$.budgets[0].per",
            "17 labels, the limit is 16",
        ),
        ({"timezone": "Europe/Berln"}, "$.budgets[0].timezone", "did you mean Europe/Berlin"),
        ({"timezone": "../etc/passwd"}, "$.budgets[0].timezone", "unknown time zone"),
        ({"week_start": "monday"}, "$.budgets[0].week_start", "for weekly only"),
        ({"week_start": "monday", "period": "daily"}, "$.budgets[0].week_start", "the period is daily"),
        ({"limits": "{}"}, "$.budgets[0].limits", "caps nothing"),
        ({"limits": "{model_cals: 1}"}, "$.budgets[0].limits.model_cals", "did you mean model_calls?"),
        ({"limits": "{horses: 1}"}, "$.budgets[0].limits.horses", "known are cost, tokens"),
        ({"limits": "{cost: -1}"}, "$.budgets[0].limits.cost", "is negative"),
        ({"limits": "{cost: '-1'}"}, "$.budgets[0].limits.cost", "not a plain decimal number"),
        ({"limits": "{cost: 9007199.254740992}"}, "$.budgets[0].limits.cost", "largest amount"),
        ({"limits": "{cost: 9007199254740992}"}, "$.budgets[0].limits.cost", "above"),
        ({"limits": "{cost: NaN}"}, "$.budgets[0].limits.cost", "'NaN' is not a plain"),
        ({"limits": "{cost: '1e400'}"}, "$.budgets[0].limits.cost", "not a plain"),
        ({"limits": "{cost: '1_0'}"}, "$.budgets[0].limits.cost", "not a plain"),
        ({"limits": "{cost: ١٢}"}, "$.budgets[0].limits.cost", "not a plain"),
        ({"limits": "{tokens: 9007199254740992}"}, "$.budgets[0].limits.tokens", "2^53-1"),
        ({"limits": "{tokens: 1.0}"}, "$.budgets[0].limits.tokens", "not a whole number"),
        ({"limits": "{tokens: -1}"}, "$.budgets[0].limits.tokens", "outside 0"),
        ({"limits": "{tokens: '1000'}"}, "$.budgets[0].limits.tokens", "without quotes"),
    ],
)
def test_refused_with_its_line(changes, path, problem):
    error = refusal(**changes)
    assert error.path == path
    assert problem in error.problem
    # fields stand on lines of their own from line 3: id, limits, then what the case adds
    assert error.line == (4 if "limits" in path else 5)


@pytest.mark.parametrize("currency", ["usd", "US", "Dollar", "''", "ÜSD"])
def test_a_currency_is_a_code_of_three_letters(currency):
    with pytest.raises(InvalidPolicy, match="three capitals"):
        parse_policy(f"currency: {currency}\n")


def test_every_problem_of_a_policy_can_be_listed():
    from costscope.policy import Budget, Policy

    policy = Policy(
        budgets=(Budget(id="", limits={}), Budget(id="", limits={"x": 1}, timezone="y")), currency="dollar"
    )
    assert [steps for steps, _ in check_policy(policy)] == [
        ("budgets", 0, "id"),
        ("budgets", 0, "limits"),
        ("budgets", 1, "id"),
        ("budgets", 1, "id"),
        ("budgets", 1, "timezone"),
        ("budgets", 1, "limits", "x"),
        ("currency",),
    ]
