"""`costscope check`: a policy in words, what it says about a scope, what is suspicious, or where it is wrong."""

import json
import os
import re
import sys
import warnings
from typing import NamedTuple

import pytest

from costscope.cli.app import run


class Finished(NamedTuple):
    code: int
    out: str
    err: str


TELLING = """
budgets:
  - id: company-month
    period: monthly
    timezone: Europe/Berlin
    limits: {cost: "5000.00"}
    thresholds: [50, {at: 80, actions: [log, {webhook: ops}]}]
    constraints: {iterations: 20, cost: "3"}
  - id: user-day
    match: {tenant: "*", user: "*"}
    per: [tenant, user]
    period: daily
    limits: {cost: "5.00", model_calls: 1000, runs: 50, concurrent_runs: 4, wall_clock: 2h}
    thresholds: [{at: 80, meter: cost, actions: [{limit_capabilities: {max_tokens: 0.5}}], message: ask Ann}]
    on_limit: halt_run
    on_denied: {wait: 30s}
    constraints: {iterations: 8, wall_clock: 10m}
routing:
  - id: default
    stages:
      - stage: synthesis
        model: gpt-4o
        fallbacks: [gpt-4o-mini]
        downgrade_on: {remaining_budget_below: 5}
runaway: true
webhooks: {ops: {url: "https://ops.example/hook", secret_env: OPS_SECRET}}
prices:
  models: {house-model: {input: "1", output: "2", batch: 0.5}}
"""

SUSPICIOUS = """\
budgets:
  - id: day
    period: daily
    limits: {cost: 5}
    thresholds: [120]
routing:
  - {id: r, stages: [{model: gpt-4o-mini, fallback: gpt-4o, downgrade_on: {utilization_above: 80}}]}
prices:
  models:
    gpt-4o: {input: "2500.00", output: "10.00"}
"""


@pytest.fixture
def check(monkeypatch, capsys):
    """Run `costscope check ARGS...` in this process, which is quicker."""
    for name in [name for name in os.environ if name.startswith("COSTSCOPE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the command line has its own

    def run_it(*args, **environ):
        for name, value in ({"COLUMNS": "80", "NO_COLOR": "1"} | environ).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["costscope", "check", *args])
        code = run()
        said = capsys.readouterr()
        for name in environ:
            monkeypatch.delenv(name)
        return Finished(code, said.out, said.err)

    return run_it


@pytest.fixture
def telling(tmp_path):
    path = tmp_path / "telling.yaml"
    path.write_text(TELLING)
    return path


@pytest.fixture
def suspicious(tmp_path):
    path = tmp_path / "suspicious.yaml"
    path.write_text(SUSPICIOUS)
    return path


def words_of(text):
    """Without the breaks of lines, which depend on the width."""
    return re.sub(r"\s+", " ", text)


def fits(text, columns):
    return all(len(line.rstrip()) <= columns for line in text.splitlines() if "/" not in line)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_all_of_a_policy_is_explained(check, telling, columns):
    done = check(str(telling), COLUMNS=str(columns))
    assert (done.code, done.err) == (0, "")
    said = words_of(done.out)
    for words in (
        "telling.yaml: 2 budgets, 1 route, amounts in USD",
        "company-month every scope; one account for all",
        "limits USD 5,000.00",
        "window monthly, Europe/Berlin; now 20",
        "at 50 % log, callback",
        "at 80 % log, webhook ops",
        "at the limit calls are refused",
        "each run at most USD 3.00, 20 iterations",
        "user-day tenant is present, user is present; one account per tenant and user",
        "limits USD 5.00, 1,000 model calls, 50 runs, 4 concurrent runs, 2h of wall clock",
        "at 80 % of cost limit_capabilities (max_tokens x 0.5): ask Ann",
        "at the limit calls are refused, and the run that met it is halted",
        "a refused call waits for those in flight, at most 30s",
        "each run at most 8 iterations, 10m of wall clock",
        "route default every scope; calls of any model",
        "synthesis to gpt-4o; falls back to gpt-4o-mini when remaining_budget_below 5",
        "watched for 3 failures in a row, 2 x its own cost per minute, the same call 10 times; then log",
        "ops https://ops.example/hook, signed with $OPS_SECRET",
        "house-model input 1, output 2 per million tokens; batch tier x 0.5",
        "A metered call outside every scope is refused (unscoped: deny).",
    ):
        assert words in said, words
    assert fits(done.out, columns)
    assert not re.search(r"[ ]+$", done.out, re.MULTILINE), "nothing is copied with it that cannot be seen"


@pytest.mark.parametrize(
    "options",
    [
        ["--scope", "tenant=acme,user=u1,run=r1"],
        ["--scope", "run=r1", "--scope", "user=u1", "--scope", "tenant=acme"],
    ],
)
def test_a_scope_meets_its_budgets(check, telling, options):
    done = check(str(telling), *options)
    assert (done.code, done.err) == (0, "")
    said = words_of(done.out)
    for words in (
        "meets 2 of 2 budgets; all must hold",
        "account company-month//",
        "account user-day/tenant=acme,user=u1/",
        "account user-day~slots/tenant=acme,user=u1/0-0",
        "8 iterations from user-day, the more specific one (company-month says 20 iterations)",
        "USD 3.00 from company-month",
        "10m of wall clock from user-day",
        "route default calls of any model",
        "runaway runs watched for 3 failures",
    ):
        assert words in said, words
    assert said.index("user-day tenant") < said.index("company-month every scope")
    assert "not met" not in said


def test_a_scope_is_told_which_budgets_it_does_not_meet_and_why(check, telling):
    said = words_of(check(str(telling), "--scope", "tenant=Smith, Ann").out)
    assert said.startswith("tenant=Smith, Ann meets 1 of 2 budgets company-month")
    assert "not met user-day only where user is present" in said


@pytest.mark.parametrize(
    ("scope", "problem"),
    [
        ("tenant", "write LABEL=VALUE"),
        ("tenant=a,tenant=b", "names tenant twice"),
        ("Tenant=a", "is not a label name"),
        ("tenant=", "is empty"),
    ],
)
def test_a_scope_that_cannot_be_is_2(check, telling, scope, problem):
    done = check(str(telling), "--scope", scope)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err
    assert "Traceback" not in done.err


def test_warnings_name_file_line_and_place_and_change_the_exit_code_only_when_strict(check, suspicious):
    pytest.importorskip("genai_prices")
    done = check(str(suspicious))
    assert done.code == 0
    threshold, dearer, price, count = done.err.splitlines()
    assert threshold.startswith(
        f"{suspicious}:5: $.budgets[0].thresholds[0]: warning: 120 percent of a hard limit"
    )
    assert dearer.startswith(
        f"{suspicious}:7: $.routing[0].stages[0].fallback: warning: gpt-4o is dearer than gpt-4o-mini"
    )
    assert price.startswith(
        f"{suspicious}:10: $.prices.models.gpt-4o.input: warning: "
        "2.50 per 1k is 1000 x the known price of gpt-4o: per million?"
    )
    assert count == "3 warnings"
    strict = check(str(suspicious), "--strict")
    assert (strict.code, strict.out, strict.err) == (1, done.out, done.err)


def test_strict_without_a_warning_is_0(check, telling):
    assert check(str(telling), "--strict").code == 0


def test_the_command_of_another_process_says_the_same(costscope, check, suspicious):
    done = costscope("check", str(suspicious), "--strict")
    assert (done.code, done.out, done.err) == check(str(suspicious), "--strict")


def test_json_says_the_same(check, policy_file):
    found = json.loads(check(str(policy_file), "--json").out)
    budget = found["explained"]["budgets"][0]
    assert budget["limits"] == {"cost": "USD 5.00", "model_calls": "10 model calls"}
    assert budget["window_end"] > budget["window_start"]
    assert found["prices"]["tools"] == {"web_search": "0.01"}
    assert found["warnings"] == []
    assert "scope" not in found


def test_json_has_the_scope_and_the_warnings_and_the_same_exit_code(check, suspicious):
    pytest.importorskip("genai_prices")
    done = check(str(suspicious), "--json", "--strict", "--scope", "tenant=acme")
    found = json.loads(done.out)
    assert (done.code, done.err) == (1, "")
    assert [(one["line"], one["path"]) for one in found["warnings"]][:1] == [
        (5, "$.budgets[0].thresholds[0]")
    ]
    assert found["scope"]["labels"] == {"tenant": "acme"}
    assert found["scope"]["budgets"][0]["budget"]["id"] == "day"


def test_a_folder_is_one_policy_and_each_warning_names_its_file(check, tmp_path):
    (tmp_path / "a.yaml").write_text("budgets: [{id: a, limits: {cost: 1}}]\n")
    (tmp_path / "b.toml").write_text(
        '[[budgets]]\nid = "b"\nmatch = {tenant_id = "x"}\nlimits = {cost = "0.5"}\n'
    )
    done = check(str(tmp_path))
    assert "2 budgets" in done.out
    assert done.err.startswith(f"{tmp_path / 'b.toml'}:3: $.budgets[0].match.tenant_id: warning: ")
    assert "did you mean tenant?" in done.err


def test_without_a_policy_the_environment_is_explained(check, policy_file):
    more = {"COSTSCOPE_BUDGET_EXTRA_COST": "3", "COSTSCOPE_BUDGET_EXTRA_MATCH_TEAM": "red"}
    done = check(**more)
    assert "the environment: 1 budget" in done.out
    assert "team is red" in done.out
    assert "2 budgets" in check(COSTSCOPE_POLICY=str(policy_file)).out
    assert "3 budgets" in check(COSTSCOPE_POLICY=str(policy_file), **more).out
    nothing = check()
    assert nothing.code == 2
    assert "COSTSCOPE_POLICY" in nothing.err


def test_a_wrong_policy_is_file_line_path_problem_and_nothing_else(check, policy_file):
    policy_file.write_text(policy_file.read_text().replace("daily", "dayly"))
    for more in ([], ["--json"], ["--scope", "tenant=a"]):
        done = check(str(policy_file), *more)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"{policy_file}:6: $.budgets[0].period: ")
        assert done.err.count("\n") == 1


def test_a_missing_file_is_2(check, tmp_path):
    done = check(str(tmp_path / "none.yaml"))
    assert (done.code, done.out) == (2, "")
    assert "none.yaml" in done.err


def test_brackets_in_a_policy_are_no_markup(check, policy_file):
    policy_file.write_text(policy_file.read_text().replace('{tenant: "*"}', '{tenant: "[bold]x[/]"}'))
    assert "[bold]x[/]" in check(str(policy_file)).out.replace("\n", "")


def test_the_tiers_of_a_price_are_shown(check, policy_file):
    price = "{input: 1, cached_input: 0.1, output: 4, batch: 0.5, priority: {input: 2, output: 8}}"
    written = policy_file.read_text()
    policy_file.write_text(written.replace("  models:\n", f"  models:\n    m: {price}\n"))
    done = check(str(policy_file), COLUMNS="200")
    assert "input 1, output 4, cached input 0.1 per million tokens" in done.out
    assert "batch tier x 0.5; priority tier input 2, output 8" in done.out
