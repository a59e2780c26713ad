"""What controls of the right shape can still get wrong: routes, runaways, webhooks, thresholds, each with its place."""

import pytest

from costscope.errors import InvalidPolicy
from costscope.policy.load.loader import parse_policy


def refused(text):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text)
    return caught.value.path, caught.value.problem


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        ("stages: []", ".stages", "the route does nothing"),
        ("models: [], stages: [{model: m}]", ".models", "no call is routed"),
        ("models: [''], stages: [{model: m}]", ".models[0]", "no model is called that"),
        ("match: {Tenant: x}, stages: [{model: m}]", ".match.Tenant", "is not a label name"),
        ("stages: [{stage: a}]", ".stages[0]", "changes nothing"),
        ("stages: [{stage: '', model: m}]", ".stages[0].stage", "is empty"),
        ("stages: [{model: ''}]", ".stages[0].model", "is empty"),
        ("stages: [{max_tokens: 0}]", ".stages[0].max_tokens", "at least 1"),
        ("stages: [{model: a, fallbacks: [b, b]}]", ".stages[0].fallbacks[1]", "to each model once"),
        ("stages: [{model: a, fallbacks: [a]}]", ".stages[0].fallbacks[0]", "to each model once"),
        ("stages: [{model: a, fallback: ['']}]", ".stages[0].fallback[0]", "name a model"),
        ("stages: [{model: a}, {stage: x, model: b}]", ".stages[1].stage", "put it before that one"),
        ("stages: [{stage: x, model: a}, {stage: x, model: b}]", ".stages[1].stage", "keep one"),
        ("stages: [{fallback: b, downgrade_on: {remaining_budget_below: 0}}]", ".stages[0].downgrade_on.remaining_budget_below", "nothing is below 0"),
        ("stages: [{fallback: b, downgrade_on: {remaining_budget_below: -1}}]", ".stages[0].downgrade_on.remaining_budget_below", "negative"),
        ("stages: [{fallback: b, downgrade_on: {utilization_above: -1}}]", ".stages[0].downgrade_on.utilization_above", "out of range"),
        ("stages: [{fallback: b, downgrade_on: {error_rate_above: 100}}]", ".stages[0].downgrade_on.error_rate_above", "out of range"),
        ("stages: [{fallback: b, downgrade_on: {latency_above: 0}}]", ".stages[0].downgrade_on.latency_above", "at least 1ms"),
        ("stages: [{fallback: b, downgrade_on: {latency_above: fast}}]", ".stages[0].downgrade_on.latency_above", "no duration"),
        ("stages: [{fallback: b, downgrade_on: {latency_over: 1}}]", ".stages[0].downgrade_on.latency_over", "did you mean latency_above?"),
        ("stage: [{model: m}], stages: [{model: m}]", ".stage", "did you mean stages?"),
    ],
)  # fmt: skip
def test_routes(route, path, words):
    place, problem = refused(f"routing: [{{id: r, {route}}}]")
    assert place == f"$.routing[0]{path}"
    assert words in problem


def test_routes_of_one_id():
    place, problem = refused("routing: [{id: r, stages: [{model: a}]}, {id: r, stages: [{model: b}]}]")
    assert (place, "the id of routing[0] too" in problem) == ("$.routing[1].id", True)


@pytest.mark.parametrize(
    ("runaway", "path", "words"),
    [
        ("{failures: -1}", ".failures", "out of range"),
        ("{failures: 1000001}", ".failures", "out of range"),
        ("{repeats: 1}", ".repeats", "or 0 to switch this off"),
        ("{burn_rate: 1}", ".burn_rate", "a multiple of the run's own rate above 1"),
        ("{burn_rate: .inf}", ".burn_rate", "no plain number"),
        ("{failures: 0, burn_rate: 0, repeats: 0}", "", "write `runaway: false`"),
        ("{actions: []}", ".actions", "nothing would happen"),
        ("{actions: [webhook]}", ".actions[0]", "no webhook is defined"),
        ("{match: {run: []}}", ".match.run", "the list is empty"),
        ("{window: 5}", ".window", "unknown field"),
    ],
)
def test_runaways(runaway, path, words):
    place, problem = refused(f"runaway: {runaway}")
    assert place == f"$.runaway{path}"
    assert words in problem


@pytest.mark.parametrize(
    ("webhook", "path", "words"),
    [
        ("{url: 'ftp://x/', secret_env: S}", ".url", "https://HOST/PATH"),
        ("{url: 'https:///x', secret_env: S}", ".url", "https://HOST/PATH"),
        ("{url: 'https://u:p@x/', secret_env: S}", ".url", "has a password in it"),
        ("{url: 'https://x:99999/', secret_env: S}", ".url", "is no URL"),
        ("{url: 'https://x/a b', secret_env: S}", ".url", "percent-encode"),
        (
            "{url: 'https://x/', secret_env: 'whsec_very+secret=='}",
            ".secret_env",
            "keep the secret out of the file",
        ),
        ("{url: 'https://x/', secret_env: S, timeout: 0}", ".timeout", "at least 1ms"),
        ("{url: 'https://x/'}", "", "secret_env"),
        ("{url: 'https://x/', secret_env: S, secret: x}", ".secret", "unknown field"),
    ],
)
def test_webhooks(webhook, path, words):
    place, problem = refused(f"webhooks: {{ops: {webhook}}}")
    assert place == f"$.webhooks.ops{path}"
    assert words in problem


def test_a_secret_that_stands_in_the_file_is_not_repeated_in_the_error():
    _, problem = refused("webhooks: {ops: {url: 'https://x/', secret_env: 'whsec_very+secret=='}}")
    assert "very" not in problem


def test_a_webhook_needs_a_name_that_can_be_one():
    place, _ = refused("webhooks: {'a b': {url: 'https://x/', secret_env: S}}")
    assert place.startswith("$.webhooks[")


@pytest.mark.parametrize(
    ("budget", "path", "words"),
    [
        ("limits: {cost: 1}, thresholds: [{at: 50, meter: tokens}]", ".thresholds[0].meter", "it limits cost"),
        ("limits: {wall_clock: 1h}, thresholds: [50]", ".thresholds[0]", "no meter of which this could be a part"),
        ("constraints: {iterations: 1}, thresholds: [50]", ".thresholds[0]", "no meter of which"),
        (f"limits: {{cost: 1}}, thresholds: [{{at: 50, message: {'x' * 501}}}]", ".thresholds[0].message", "at most 500"),
        ("limits: {cost: 1}, thresholds: [0]", ".thresholds[0]", "more than 0"),
        ("limits: {cost: 1}, thresholds: [.nan]", ".thresholds[0]", "no plain number"),
        ("limits: {cost: 1}, thresholds: [10000]", ".thresholds[0]", "below 10000"),
        ("limits: {cost: 1}, thresholds: [{at: 50, actions: throttle}]", ".thresholds[0].actions", "a total never resets"),
        ("period: daily, limits: {concurrent_runs: 1}, thresholds: [{at: 50, meter: concurrent_runs, actions: throttle}]", ".thresholds[0].actions", "come back"),
        ("period: daily, limits: {cost: 1}, thresholds: [{at: 50, actions: [{throttle: -1}]}]", ".thresholds[0].actions[0].throttle", "no duration"),
        ("limits: {cost: 1}, thresholds: [{at: 50, actions: [{log: {model: m}}]}]", ".thresholds[0].actions[0].log.model", "is for downgrade_model"),
        ("limits: {cost: 1}, thresholds: [{at: 50, actions: [{limit_capabilities: {iterations: 0}}]}]", ".thresholds[0].actions[0].limit_capabilities.iterations", "use halt_run"),
        ("limits: {cost: 1}, on_denied: {do: raise, timeout: 5}", ".on_denied.timeout", "is for wait"),
        ("limits: {cost: 1}, on_denied: {do: wait, timeout: 5, value: 1}", ".on_denied.value", "is for return"),
        ("constraints: {}", ".constraints", "nothing is limited"),
        ("constraints: {iterations: -1}", ".constraints.iterations", "outside 0"),
        ("constraints: {cost: -1}", ".constraints.cost", "negative"),
        ("constraints: {wall_clock: 0}", ".constraints.wall_clock", "ends before it begins"),
        ("constraints: {runs: 1}", ".constraints.runs", "unknown field"),
        ("limits: {halts: 1}", ".limits.halts", "unknown meter"),
        ("limits: {wall_clock: 5 minutes}", ".limits.wall_clock", "no duration"),
        ("limits: {cost: 1}, on_limit: stop", ".on_limit", "Expected reject, reject_new_runs, halt_run, downgrade_then_reject"),
        ("limits: {cost: 1}, enforcement: warn", ".enforcement", "Expected hard, soft, shadow"),
    ],
)  # fmt: skip
def test_budgets(budget, path, words):
    place, problem = refused(f"budgets: [{{id: x, {budget}}}]")
    assert place == f"$.budgets[0]{path}"
    assert words in problem


def test_of_several_webhooks_an_action_says_which():
    hooks = "webhooks: {a: {url: 'https://a/', secret_env: A}, b: {url: 'https://b/', secret_env: B}}\n"
    place, problem = refused(hooks + "runaway: {actions: [webhook]}")
    assert (place, "say which with `to`: a, b" in problem) == ("$.runaway.actions[0]", True)
    assert parse_policy(hooks + "runaway: {actions: [{webhook: b}]}").runaway


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_only_python_can_say(number):
    from costscope.policy.load.loader import load_policy

    for data in (
        {"runaway": {"burn_rate": number}},
        {"budgets": [{"id": "x", "limits": {"cost": 1}, "thresholds": [number]}]},
        {"budgets": [{"id": "x", "limits": {"wall_clock": number}}]},
    ):
        with pytest.raises(InvalidPolicy):
            load_policy(data)
