"""A policy in environment variables: the table of docs/policy.md is all of them, and says what they mean."""

import re
from pathlib import Path

import msgspec
import pytest
from no_default import no_default_runtime

from costscope.errors import InvalidPolicy
from costscope.policy.load.environment import VARIABLES, environment_source
from costscope.policy.load.loader import load_policy, policy_of
from costscope.policy.load.sources import read_source

PAGE = Path(__file__).parents[3] / "docs" / "policy.md"
ROW = re.compile(r"^\| `(COSTSCOPE_[^`]+)` \| `([^`]+)` \| (.*) \|$", re.MULTILINE)
ROWS = [tuple(row) for row in ROW.findall(PAGE.read_text(encoding="utf-8"))]
POLICY_ROWS = [row for row in ROWS if row[0] not in {"COSTSCOPE_STORE", "COSTSCOPE_POLICY"}]

BUDGET = {"COSTSCOPE_BUDGET_TENANT_DAY_COST": "7"}
WITH = {
    "WEEK_START": {"COSTSCOPE_BUDGET_TENANT_DAY_PERIOD": "weekly"},
    "YEAR_START": {"COSTSCOPE_BUDGET_TENANT_DAY_PERIOD": "yearly"},
    "CYCLE_DAY": {"COSTSCOPE_BUDGET_TENANT_DAY_PERIOD": "monthly"},
}
"""What a variable needs beside it."""

HOOK = {"COSTSCOPE_WEBHOOK_OPS_URL": "https://x.example/", "COSTSCOPE_WEBHOOK_OPS_SECRET_ENV": "S"}


def read(variables):
    return policy_of(read_source("env:", variables)).policy


def test_the_table_has_every_variable_and_no_other():
    names = [name for name, _, _ in ROWS]
    assert len(names) == len(set(names))
    assert set(names) == {"COSTSCOPE_STORE", *VARIABLES}


@pytest.mark.parametrize(("name", "value", "in_file"), POLICY_ROWS, ids=[row[0] for row in POLICY_ROWS])
def test_a_variable_means_what_the_table_says_of_a_file(name, value, in_file):
    said = load_data(in_file)
    variable = name.replace("<LABEL>", "TENANT")
    if "_BUDGET_" in name:
        given = BUDGET | next((more for end, more in WITH.items() if name.endswith(end)), {})
        found = read(given | {variable.replace("<NAME>", "TENANT_DAY"): value})
        budget = {"id": "tenant-day", "limits": {"cost": "7"}}
        budget |= {one.rsplit("_DAY_")[1].lower(): text for one, text in given.items() if one not in BUDGET}
        if "limits" in said:
            said["limits"] = {"cost": "7"} | said["limits"]
        if "match" in said:
            said["match"] = {"tenant": said["match"]["label"]}
        expected = load_policy({"budgets": [budget | said]})
    elif "_WEBHOOK_" in name:
        found = read(HOOK | {variable.replace("<NAME>", "OPS"): value})
        hook = {"url": "https://x.example/", "secret_env": "S"} | said["webhooks"]["name"]
        expected = load_policy({"webhooks": {"ops": hook}})
    else:
        found, expected = read({variable: value}), load_policy(said)
    assert found == expected


def load_data(text):
    """The plain data that the last column shows."""
    import yaml

    return yaml.safe_load(text.strip("`"))


def test_every_field_of_a_budget_can_be_set():
    from costscope.policy import Budget
    from costscope.policy.checks.budget_checks import LIMITS
    from costscope.policy.model.controls import Constraints

    fields = {
        name.removeprefix("COSTSCOPE_BUDGET_<NAME>_").lower() for name in VARIABLES if "_BUDGET_" in name
    }
    structs = set(Budget.__struct_fields__) - {"id", "match", "limits", "constraints"}
    nested = {"match_<label>", *LIMITS, *(f"constraints_{field}" for field in Constraints.__struct_fields__)}
    assert fields == structs | nested


def test_variables_add_to_a_file_and_to_a_folder(tmp_path):
    (tmp_path / "a.yaml").write_text("budgets: [{id: a, limits: {cost: 1}}]\ncurrency: EUR\n")
    for place in (tmp_path, tmp_path / "a.yaml"):
        found = read({"COSTSCOPE_POLICY": str(place), **BUDGET})
        assert [(one.id, one.limits) for one in found.budgets] == [
            ("a", {"cost": 1}),
            ("tenant-day", {"cost": "7"}),
        ]
        assert found.currency == "EUR"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"COSTSCOPE_BUDGET_A_COTS": "1"}, ["COSTSCOPE_BUDGET_A_COTS", "did you mean", "_COST"]),
        ({"COSTSCOPE_RUNAWAY_FAILURE": "1"}, ["did you mean COSTSCOPE_RUNAWAY_FAILURES?"]),
        ({"COSTSCOPE_BUDGET_A_TOKENS": "1e3"}, ["COSTSCOPE_BUDGET_A_TOKENS", "no whole number"]),
        ({"COSTSCOPE_BUDGET_A_TOKENS": ""}, ["COSTSCOPE_BUDGET_A_TOKENS", "is empty"]),
        ({"COSTSCOPE_BUDGET_A_COST": "-1"}, ["COSTSCOPE_BUDGET_A_COST", "not a plain decimal"]),
        (
            {"COSTSCOPE_BUDGET_A_COST": "1", "COSTSCOPE_BUDGET_A_PERIOD": "dayly"},
            ["COSTSCOPE_BUDGET_A_PERIOD", "did you mean daily?"],
        ),
        (
            {"COSTSCOPE_BUDGET_A_COST": "1", "COSTSCOPE_BUDGET_A_THRESHOLDS": "80:lgo"},
            ["COSTSCOPE_BUDGET_A_THRESHOLDS", "did you mean log?"],
        ),
        ({"COSTSCOPE_BUDGET_A_COST": "1", "COSTSCOPE_BUDGET_A_THRESHOLDS": "x"}, ["no number"]),
        (
            {"COSTSCOPE_BUDGET_A_COST": "1", "COSTSCOPE_BUDGET_A_MATCH_TENANT": "x,,y"},
            ["MATCH_TENANT", "is empty"],
        ),
        ({"COSTSCOPE_RUNAWAY": "yes"}, ["COSTSCOPE_RUNAWAY", "neither true nor false"]),
        (
            {"COSTSCOPE_RUNAWAY": "false", "COSTSCOPE_RUNAWAY_REPEATS": "5"},
            ["COSTSCOPE_RUNAWAY_REPEATS", "unset one"],
        ),
        ({"COSTSCOPE_WEBHOOK_OPS_URL": "https://x.example/"}, ["secret_env"]),
        ({"COSTSCOPE_POLICY": "/nowhere/x.yaml"}, ["/nowhere/x.yaml"]),
        ({"COSTSCOPE_BUDGET_A_PERIOD": "daily"}, ["COSTSCOPE_BUDGET_A_PERIOD", "caps nothing"]),
    ],
)
def test_a_wrong_variable_is_named_with_the_remedy(variables, words):
    with pytest.raises(InvalidPolicy) as caught:
        read(variables)
    for word in words:
        assert word in str(caught.value)


def test_an_id_that_a_file_has_too_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("budgets: [{id: tenant-day, limits: {cost: 1}}]\n")
    with pytest.raises(InvalidPolicy, match="tenant-day") as caught:
        read({"COSTSCOPE_POLICY": str(tmp_path), **BUDGET})
    assert "ids are unique over all files" in str(caught.value)


def test_what_two_places_say_must_be_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text("currency: EUR\n")
    assert read({"COSTSCOPE_POLICY": str(tmp_path), "COSTSCOPE_CURRENCY": "EUR"}).currency == "EUR"
    with pytest.raises(InvalidPolicy, match=r"COSTSCOPE_CURRENCY.*says otherwise"):
        read({"COSTSCOPE_POLICY": str(tmp_path), "COSTSCOPE_CURRENCY": "USD"})


def test_where_the_environment_says_that_the_policy_is():
    assert environment_source({"COSTSCOPE_STORE": "memory://", "HOME": "/"}) is None
    assert environment_source({"COSTSCOPE_POLICY": "p.yaml"}) == "p.yaml"
    assert environment_source({"COSTSCOPE_POLICY": ""}) is None
    assert environment_source(BUDGET) == "env:"
    assert environment_source({"COSTSCOPE_POLICY": "p.yaml", **BUDGET}) == "env:"


def test_configure_without_a_policy_reads_the_environment(monkeypatch):
    from costscope import configure

    monkeypatch.setenv("COSTSCOPE_BUDGET_ALL_TOOL_CALLS", "1")
    with no_default_runtime():
        runtime = configure("memory://")
        assert msgspec.to_builtins(runtime.policy)["budgets"][0]["limits"] == {"tool_calls": 1}
        assert not runtime_polls(runtime)


def runtime_polls(runtime):
    """Variables cannot change, so no thread looks at them."""
    return runtime._reloading._reloader._worker is not None
