"""Routes, runaways and webhooks in words."""

import pytest

from costscope.policy.explain.scope_text import explain
from costscope.policy.load.loader import parse_policy


def explained(text):
    return explain(parse_policy(text), 0)


def test_a_route_says_where_each_stage_goes_and_when_it_falls_back():
    [route] = explained("""
routing:
  - id: chat
    match: {tenant: acme}
    models: [gpt-4*, o1]
    stages:
      - {stage: planning, model: gpt-4o-mini, max_tokens: 2000}
      - stage: synthesis
        model: gpt-4o
        fallbacks: [gpt-4o-mini, tiny]
        downgrade_on: {soft_threshold_exceeded: true, utilization_above: 0}
      - {stage: judge, fallback: tiny}
      - {max_tokens: 10}
""").routes
    assert (route.covers, route.models) == ("tenant is acme", "calls that ask for gpt-4* or o1")
    assert [(one.stage, one.goes, one.falls_back) for one in route.stages] == [
        ("planning", "to gpt-4o-mini, at most 2,000 output tokens", ""),
        (
            "synthesis",
            "to gpt-4o",
            "to gpt-4o-mini, then tiny when soft_threshold_exceeded or utilization_above 0.0",
        ),
        ("judge", "to the model they ask for", "to tiny when a threshold with downgrade_model is passed"),
        ("any stage", "to the model they ask for, at most 10 output tokens", ""),
    ]


@pytest.mark.parametrize(
    ("runaway", "words"),
    [
        (
            "true",
            "3 failures in a row, 2 x its own cost per minute, the same call 10 times; then log, callback, halt_run",
        ),
        (
            "{failures: 0, burn_rate: 2.5, repeats: 0, actions: [log]}",
            "2.5 x its own cost per minute; then log",
        ),
        (
            "{match: {tenant: a}, failures: 5, burn_rate: 0, repeats: 0, actions: log}",
            "where tenant is a: 5 fail",
        ),
        ("false", ""),
    ],
)
def test_what_runs_are_watched_for(runaway, words):
    said = explained(f"runaway: {runaway}").runaway
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_a_webhook_says_where_and_which_secret():
    said = explained("webhooks: {ops: {url: 'https://ops.example/x', secret_env: OPS}}").webhooks
    assert said == {"ops": "https://ops.example/x, signed with $OPS"}
