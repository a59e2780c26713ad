"""`costscope check`: a policy in words, or where it is wrong."""

import json

import pytest


@pytest.mark.parametrize("columns", [80, 120])
def test_a_policy_is_explained(costscope, policy_file, columns):
    done = costscope("check", str(policy_file), COLUMNS=str(columns))
    assert (done.code, done.err) == (0, "")
    for words in (
        "tenant-day",
        "tenant is present",
        "one account per tenant",
        "USD 5.00",
        "10 model calls",
        "daily, UTC",
    ):
        assert words in done.out
    assert done.out.count("since 20") == 1
    assert done.out.count("next  20") == 1
    assert "never resets" in done.out
    assert "0.01 per call" in done.out
    assert "unscoped: deny" in done.out
    assert max(len(line.rstrip()) for line in done.out.splitlines()[1:]) <= columns


def test_json_says_the_same(costscope, policy_file):
    found = json.loads(costscope("check", str(policy_file), "--json").out)
    budget = found["explained"]["budgets"][0]
    assert budget["limits"] == {"cost": "USD 5.00", "model_calls": "10 model calls"}
    assert budget["window_end"] > budget["window_start"]
    assert found["prices"]["tools"] == {"web_search": "0.01"}


def test_a_wrong_policy_is_file_line_path_problem_and_nothing_else(costscope, policy_file):
    policy_file.write_text(policy_file.read_text().replace("daily", "dayly"))
    for json_too in ([], ["--json"]):
        done = costscope("check", str(policy_file), *json_too)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"{policy_file}:6: $.budgets[0].period: ")
        assert done.err.count("\n") == 1


def test_a_missing_file_is_2(costscope, tmp_path):
    done = costscope("check", str(tmp_path / "none.yaml"))
    assert (done.code, done.out) == (2, "")
    assert "none.yaml" in done.err


def test_brackets_in_a_policy_are_no_markup(costscope, policy_file):
    policy_file.write_text(policy_file.read_text().replace('{tenant: "*"}', '{tenant: "[bold]x[/]"}'))
    assert "[bold]x[/]" in costscope("check", str(policy_file)).out.replace("\n", "")
