"""The short forms of a policy file, and the long ones they stand for."""

import pytest

from costscope.errors import InvalidPolicy
from costscope.policy.load.loader import parse_policy

HOOKS = "webhooks: {ops: {url: 'https://x.example', secret_env: S}}\n"


def budget(fields):
    return parse_policy(f"{HOOKS}budgets: [{{id: x, period: daily, limits: {{cost: 1}}, {fields}}}]").budgets[
        0
    ]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("thresholds: [50]", "thresholds: [{at: 50, actions: [{do: log}, {do: callback}]}]"),
        ("thresholds: [{at: 50}]", "thresholds: [{at: 50, actions: [{do: log}, {do: callback}]}]"),
        ("thresholds: [{at: 50, actions: log}]", "thresholds: [{at: 50, actions: [{do: log}]}]"),
        ("thresholds: [{at: 50, actions: HALT_RUN}]", "thresholds: [{at: 50, actions: [{do: halt_run}]}]"),
        ("thresholds: [{at: 50, actions: [Log-Only]}]", "thresholds: [{at: 50, actions: [{do: log}]}]"),
        (
            "thresholds: [{at: 50, actions: {webhook: ops}}]",
            "thresholds: [{at: 50, actions: [{do: webhook, to: ops}]}]",
        ),
        (
            "thresholds: [{at: 50, actions: [{webhook: {to: ops}}, {throttle: 10s}]}]",
            "thresholds: [{at: 50, actions: [{do: webhook, to: ops}, {do: throttle, max_wait: 10s}]}]",
        ),
        (
            "thresholds: [{at: 50, actions: [{downgrade_model: m}, {halt_new_runs: null}]}]",
            "thresholds: [{at: 50, actions: [{do: downgrade_model, model: m}, {do: halt_new_runs}]}]",
        ),
        (
            "thresholds: [{at: 50, actions: [{LIMIT_CAPABILITIES: {max_tokens: 0.5}}]}]",
            "thresholds: [{at: 50, actions: [{do: limit_capabilities, max_tokens: 0.5}]}]",
        ),
        ("on_denied: raise", "on_denied: {do: raise}"),
        ("on_denied: {return: [1, {a: b}]}", "on_denied: {do: return, value: [1, {a: b}]}"),
        ("on_denied: {return: null}", "on_denied: {do: return}"),
        ("on_denied: {wait: 30s}", "on_denied: {do: wait, timeout: 30s}"),
    ],
)
def test_of_budgets(short, long):
    assert budget(short) == budget(long)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("runaway: true", "runaway: {}"),
        ("runaway: false", "{}"),
        ("runaway: {actions: log}", "runaway: {actions: [{do: log}]}"),
        (
            "routing: [{id: r, models: m, stages: [{model: a}]}]",
            "routing: [{id: r, models: [m], stages: [{model: a}]}]",
        ),
        ("routing: [{id: r, stages: [{fallback: a}]}]", "routing: [{id: r, stages: [{fallbacks: [a]}]}]"),
        (
            "routing: [{id: r, stages: [{fallback: [a, b]}]}]",
            "routing: [{id: r, stages: [{fallbacks: [a, b]}]}]",
        ),
    ],
)
def test_of_the_rest(short, long):
    assert parse_policy(short) == parse_policy(long)


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ("thresholds: [fifty]", "thresholds[0]", "expected a mapping"),
        ("thresholds: [true]", "thresholds[0]", "expected a mapping"),
        ("thresholds: [50, 50]", "thresholds[1]", "is thresholds[0] too"),
        ("thresholds: [-1]", "thresholds[0]", "out of range"),
        ("thresholds: [{at: 50, actions: []}]", "thresholds[0].actions", "the list is empty"),
        ("thresholds: [{at: 50, actions: lgo}]", "thresholds[0].actions", "did you mean log?"),
        ("thresholds: [{at: 50, actions: [log, lgo]}]", "thresholds[0].actions[1]", "did you mean log?"),
        ("thresholds: [{at: 50, actions: [log, log]}]", "thresholds[0].actions[1]", "listed twice"),
        ("thresholds: [{at: 50, actions: [{webhook: opps}]}]", "thresholds[0].actions[0].webhook", "did you mean ops?"),
        ("thresholds: [{at: 50, actions: [{log: 5}]}]", "thresholds[0].actions[0].log", "takes no value"),
        ("thresholds: [{at: 50, actions: [{webhook: ops, log: null}]}]", "thresholds[0].actions[0]", "2 keys"),
        ("thresholds: [{at: 50, actions: [{webhook: {do: log}}]}]", "thresholds[0].actions[0].webhook.do", "stands for"),
        ("thresholds: [{at: 50, actions: [{limit_capabilities: 0.5}]}]", "thresholds[0].actions[0].limit_capabilities", "takes a mapping"),
        ("thresholds: [{at: 50, actions: limit_capabilities}]", "thresholds[0].actions", "limits nothing"),
        ("thresholds: [{at: 50, actions: [{limit_capabilities: {max_tokens: 1.5}}]}]", "thresholds[0].actions[0].limit_capabilities.max_tokens", "no factor"),
        ("on_denied: wait", "on_denied", "{wait: 30s}"),
        ("on_denied: {wait: 30s, return: 1}", "on_denied", "on_denied is"),
        ("on_denied: {wait: soon}", "on_denied.wait", "is no duration"),
        ("on_denied: rais", "on_denied", "did you mean raise?"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_was_written(fields, path, words):
    with pytest.raises(InvalidPolicy) as caught:
        budget(fields)
    assert caught.value.path == f"$.budgets[0].{path}"
    assert words in caught.value.problem


def test_a_fallback_said_twice():
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy("routing: [{id: r, stages: [{fallback: a, fallbacks: [b]}]}]")
    assert caught.value.path == "$.routing[0].stages[0].fallback"
