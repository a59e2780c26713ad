"""Policies in which one thing is something else: each is still a policy that everything can be done with, or it is
refused with its place; nothing crashes."""

from __future__ import annotations

import copy
from pathlib import Path

import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from costscope.errors import InvalidPolicy
from costscope.policy.explain.scope_text import explain, explain_scope
from costscope.policy.lint.policy_lint import lint_policy
from costscope.policy.load.loader import load_policy, read_policy
from costscope.policy.resolve.resolved import BudgetResolver

HERE = Path(__file__).parents[1]
RICH = """
currency: USD
unscoped: allow
budgets:
  - id: a
    match: {tenant: ["a*", b], user: "*", plan: null}
    per: [tenant, user]
    period: monthly
    cycle_day: 31
    timezone: Europe/Berlin
    limits: {cost: "5.00", tokens: 1000, runs: 5, concurrent_runs: 2, concurrent_calls: 3, wall_clock: 1h30m}
    thresholds:
      - 50
      - {at: 80, meter: cost, actions: [log, {webhook: ops}, {limit_capabilities: {max_tokens: 0.5, iterations: 3}}]}
      - {at: 90, actions: [{throttle: 5s}, HALT_RUN, {downgrade_model: small}], meter: tokens}
    enforcement: hard
    on_limit: downgrade_then_reject
    on_denied: {wait: 30s}
    constraints: {iterations: 8, tool_calls: 3, cost: "1", wall_clock: 10m}
    on_outage: open
  - {id: b, period: yearly, year_start: "04-06", limits: {cost: 9}, enforcement: soft, on_denied: {return: [1]}}
  - {id: c, period: weekly, week_start: sunday, limits: {model_calls: 9}, on_limit: reject_new_runs}
routing:
  - id: r
    match: {tenant: "*"}
    models: ["gpt-*"]
    stages:
      - {stage: plan, model: small, max_tokens: 100}
      - {fallback: [small, tiny], downgrade_on: {remaining_budget_below: 5, latency_above: 2s, error_rate_above: 50}}
runaway: {match: {tenant: a}, failures: 4, burn_rate: 2.5, repeats: 0, actions: [callback, {webhook: {to: ops}}]}
webhooks: {ops: {url: "https://ops.example/", secret_env: OPS, timeout: 2}}
prices:
  models: {small: {input: "1", output: "2", batch: 0.5}, tiny: {input: 1, output: 1, priority: {input: 3, output: 3}}}
  tools: {search: "0.01"}
"""
DOCUMENTS = [yaml.safe_load(RICH)] + [
    yaml.safe_load((HERE / "strands" / f"{name}.yaml").read_text())
    for name in ("budgets", "routing", "pricing")
]


def places(data, before=()):
    """Every place in the data, as keys and indexes."""
    yield before
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in inside:
        yield from places(value, (*before, step))


def names(data):
    if isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from names(value)
    elif isinstance(data, list):
        for value in data:
            yield from names(value)


KEYS = sorted(
    {name for document in DOCUMENTS for name in names(document)} | {"do", "at", "fallbacks", "limits"}
)
PLAIN = [
    None,
    True,
    False,
    0,
    1,
    -1,
    0.5,
    1e300,
    float("nan"),
    float("inf"),
    2**60,
    "",
    "*",
    "log",
    "wait",
    "5s",
    "x" * 300,
    "\ud800",
    "\n",
]
junk = st.recursive(
    st.sampled_from(PLAIN) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def damaged(draw):
    """One of the documents with one or two changes in it."""
    data = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([place for place in places(data) if place] or [("budgets",)]))
        around = data
        for step in way:
            around = around[step]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add", "again"]))
        if how == "replace":
            around[last] = draw(junk)
        elif how == "remove" and last in (around if isinstance(around, dict) else range(len(around))):
            del around[last]
        elif how == "add" and isinstance(around, dict):
            around[draw(st.sampled_from(KEYS))] = draw(junk)
        elif how == "again" and isinstance(around, list):
            around.append(copy.deepcopy(around[last]))
    return data


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_it_is_a_policy_or_refused_and_nothing_crashes(data):
    try:
        policy, document = read_policy(data)
    except InvalidPolicy as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        event("refused")
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 1000
        assert refusal.path.startswith("$")
        return
    assert load_policy(policy) == policy
    labels = {"tenant": "a", "user": "u", "run": "r"}
    explain(policy, 0)
    explain_scope(policy, labels, 0)
    BudgetResolver(policy).resolve(labels, 1_760_000_000_000)
    for steps, problem in lint_policy(policy).warnings:
        assert problem
        assert str(document.place(steps))


def test_undamaged_they_are_policies():
    for data in DOCUMENTS:
        assert load_policy(data)
