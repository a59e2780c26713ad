"""What the files of strands-costguard are in our words, field by field, and what of that format is refused."""

import pytest

from costscope.errors import InvalidPolicy
from costscope.policy.load.loader import load_policy, parse_policy

OURS = """
currency: USD
budgets:
  - id: tenant-default
    match: {tenant: "*"}
    per: [tenant]
    period: monthly
    limits: {cost: 1000.0}
    thresholds:
      - {at: 70, meter: cost, actions: [log, callback, downgrade_model]}
      - {at: 90, meter: cost, actions: [log, callback, downgrade_model]}
      - {at: 100, meter: cost, actions: [log, callback, downgrade_model]}
    on_limit: reject_new_runs
  - id: analytics-strand
    match: {strand: analytics_assistant}
    period: daily
    limits: {cost: 50.0, runs: 1000, concurrent_runs: 100}
    thresholds:
      - {at: 70, meter: cost, actions: [log, callback]}
      - {at: 90, meter: cost, actions: [log, callback]}
      - {at: 100, meter: cost, actions: [log, callback]}
    on_limit: reject_new_runs
    constraints: {iterations: 8, tool_calls: 20, tokens: 30000}
routing:
  - id: default-routing
    stages:
      - {stage: planning, model: gpt-4o-mini, max_tokens: 2000}
      - stage: synthesis
        model: gpt-4o
        fallbacks: [gpt-4o-mini]
        downgrade_on: {soft_threshold_exceeded: true, remaining_budget_below: 5.0}
prices:
  models:
    gpt-4o: {input: "2500.0", output: "10000.0"}
    gpt-4o-mini: {input: "150.00", output: "600.0"}
  tools: {web_search: 0.01}
"""


def test_the_three_files_say_this_in_our_words(policy):
    found, ours = load_policy(policy), parse_policy(OURS)
    assert found.budgets == ours.budgets
    assert found.routing == ours.routing
    assert found.currency == ours.currency
    for name, rule in ours.prices.models.items():
        assert float(found.prices.models[name].input) == float(rule.input)
        assert float(found.prices.models[name].output) == float(rule.output)
    assert found.prices.tools == ours.prices.tools


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ("scope: global, max_cost: 5", "period: monthly, limits: {cost: 5}"),
        (
            "scope: workflow, match: {workflow_id: w}, max_cost: 5",
            "match: {workflow: w}, period: monthly, limits: {cost: 5}",
        ),
        (
            "scope: strand, match: {tenant_id: a, strand_id: 's*'}, max_cost: 5",
            "match: {tenant: a, strand: 's*'}, per: [strand], period: monthly, limits: {cost: 5}",
        ),
        (
            "scope: tenant, match: {tenant_id: [a, b]}, max_cost: 5",
            "match: {tenant: [a, b]}, per: [tenant], period: monthly, limits: {cost: 5}",
        ),
        (
            "scope: run, max_cost: 5, period: hourly",
            "match: {run: '*'}, per: [run], period: hourly, limits: {cost: 5}",
        ),
    ],
)
def test_scopes_and_matches(fields, ours):
    found = parse_policy(f"budgets: [{{id: x, {fields}, soft_thresholds: []}}]")
    assert found == parse_policy(f"budgets: [{{id: x, {ours}, on_limit: reject_new_runs}}]")


def test_fractions_of_the_maximum_are_percent_without_the_errors_of_floats():
    [budget] = parse_policy(
        "budgets: [{id: x, max_cost: 1, soft_thresholds: [0.07, 0.29, 0.57, 1.1]}]"
    ).budgets
    assert [one.at for one in budget.thresholds] == [7, 29, 57, 110]


@pytest.mark.parametrize(
    ("action", "does"),
    [
        ("LOG_ONLY", ["log", "callback"]),
        ("DOWNGRADE_MODEL", ["log", "callback", "downgrade_model"]),
        ("LIMIT_CAPABILITIES", ["log", "callback", "limit_capabilities"]),
        ("HALT_NEW_RUNS", ["log", "callback", "halt_new_runs"]),
    ],
)
def test_names_of_actions_in_capitals(action, does):
    [budget] = parse_policy(
        f"budgets: [{{id: x, max_cost: 1, on_soft_threshold_exceeded: {action}}}]"
    ).budgets
    assert [[action.do for action in one.actions] for one in budget.thresholds] == [does] * 3


@pytest.mark.parametrize(
    ("fields", "on_limit", "enforcement"),
    [
        ("", "reject_new_runs", "hard"),
        (", on_hard_limit_exceeded: REJECT_NEW_RUNS", "reject_new_runs", "hard"),
        (", on_hard_limit_exceeded: HALT_RUN", "halt_run", "hard"),
        (", hard_limit: false", "reject", "soft"),
    ],
)
def test_hard_limits_and_soft_ones(fields, on_limit, enforcement):
    [budget] = parse_policy(f"budgets: [{{id: x, max_cost: 1{fields}}}]").budgets
    assert (budget.on_limit, budget.enforcement) == (on_limit, enforcement)


def test_of_a_soft_budget_the_limits_of_runs_hold_all_the_same():
    soft, runs = parse_policy(
        "budgets: [{id: x, max_cost: 1, hard_limit: false, max_concurrent_runs: 2, "
        "constraints: {max_cost_per_run: 3}}]"
    ).budgets
    assert (soft.enforcement, soft.limits) == ("soft", {"cost": 1})
    assert (runs.id, runs.enforcement, runs.limits) == ("x.runs", "hard", {"concurrent_runs": 2})
    assert runs.constraints.cost == 3


def test_what_is_not_enabled_is_left_out_and_checked_all_the_same():
    text = "budgets: [{id: x, max_cost: 1, enabled: false}, {id: y, max_cost: 2}]\nrouting_policies: [{id: r, enabled: false, stages: [{default_model: m}]}]"
    found = parse_policy(text)
    assert ([one.id for one in found.budgets], found.routing) == (["y"], ())
    with pytest.raises(InvalidPolicy, match="did you mean max_cost"):
        parse_policy(text.replace("{id: x, max_cost: 1", "{id: x, max_cots: 1, scope: tenant"))


def test_the_more_specific_route_comes_first():
    found = parse_policy(
        "routing_policies: [{id: all, match: {strand_id: '*'}, stages: [{default_model: a}]},"
        " {id: one, match: {strand_id: s}, stages: [{default_model: b}]}]"
    )
    assert [route.id for route in found.routing] == ["one", "all"]


def test_a_default_model_serves_every_stage_that_is_not_named():
    [route] = parse_policy(
        "routing_policies: [{id: r, default_model: big, default_fallback_model: small, "
        "stages: [{stage: planning, default_model: mid}]}]"
    ).routing
    assert [(one.stage, one.model, one.fallbacks) for one in route.stages] == [
        ("planning", "mid", ()),
        ("*", "big", ("small",)),
    ]
    assert route.stages[1].downgrade_on.soft_threshold_exceeded


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("budgets: [{id: x, max_cost: 1, on_hard_limit_exceeded: STOP}]", "$.budgets[0].on_hard_limit_exceeded", "Expected HALT_RUN, REJECT_NEW_RUNS"),
        ("budgets: [{id: x, max_cost: 1, on_soft_threshold_exceeded: DOWNGRADE}]", "$.budgets[0].on_soft_threshold_exceeded", "DOWNGRADE_MODEL"),
        ("budgets: [{id: x, max_cost: 1, scope: tennant}]", "$.budgets[0].scope", "did you mean tenant?"),
        ("budgets: [{id: x, max_cost: -1}]", "$.budgets[0].max_cost", "negative"),
        ("budgets: [{id: x, max_cost: 1, soft_thresholds: [0.5, 0.5]}]", "$.budgets[0].soft_thresholds[1]", "is thresholds[0] too"),
        ("budgets: [{id: x, max_cost: 1, match: {tenant: a}}]", "$.budgets[0].match.tenant", "did you mean tenant_id?"),
        ("budgets: [{id: x, max_cost: 1, match: {tenant_id: true}}]", "$.budgets[0].match.tenant_id", "expected text or a list"),
        ("routing_policies: [{id: r, match: {strand_id: [null]}, stages: []}]", "$.routing_policies[0].match.strand_id", "expected text or a list"),
        ("budgets: [{id: x, scope: tenant}]", "$.budgets[0]", "caps nothing"),
        ("budgets: [{id: x, scope: tenant, soft_thresholds: [0.5]}]", "$.budgets[0].soft_thresholds", "max_cost, which is missing"),
        ("budgets: [{id: x, max_cost: 1, constraints: {max_iterations: 1}}]", "$.budgets[0].constraints.max_iterations", "did you mean max_iterations_per_run?"),
        ("routing_policies: [{id: r, stages: [{stage: a, temperature: 1}]}]", "$.routing_policies[0].stages[0].temperature", "where you call the model"),
        ("pricing: {models: {m: {output_per_1k: 1}}}", "$.pricing.models.m", "input_per_1k is missing"),
        ("pricing: {models: {m: {input_per_1k: 99999}}}", "$.pricing.models.m.input_per_1k", "is it per million?"),
        ("pricing: {currency: USD, models: {m: {input_per_1k: 1, currency: EUR}}}", "$.pricing.models.m.currency", "one currency"),
        ("pricing: {fallback_input_per_1k: 1}", "$.pricing.fallback_input_per_1k", "without a price is refused"),
        ("pricing: {}\nprices: {}", "$.pricing", "keep one"),
    ],
)  # fmt: skip
def test_mistakes_are_named_in_the_words_of_the_file(text, path, words):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text)
    assert caught.value.path == path
    assert words in caught.value.problem
