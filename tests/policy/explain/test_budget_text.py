"""Budgets in words."""

import datetime as dt

import pytest

from costscope.policy.explain.scope_text import explain
from costscope.policy.load.loader import parse_policy

NOW = int(dt.datetime(2026, 3, 29, 12, tzinfo=dt.UTC).timestamp() * 1000)


def explained(budget):
    return explain(parse_policy(f"budgets: [{{id: x, {budget}}}]\nwebhooks: {WEBHOOKS}"), NOW).budgets[0]


WEBHOOKS = "{ops: {url: 'https://ops.example/', secret_env: S}}"


def test_each_budget_is_said_in_words_with_its_window():
    policy = parse_policy("""
budgets:
- id: day
  match: {tenant: [acme, "b*"], plan: "*", user: null}
  per: [tenant, run]
  period: daily
  timezone: Europe/Berlin
  limits: {model_calls: 1000, cost: 5}
- {id: week, period: weekly, limits: {tokens: 1000000}, on_outage: open}
- {id: ever, limits: {cost: "0.000000001", runs: 1, wall_clock: 90m}}
""")
    said = explain(policy, NOW)
    day, week, ever = said.budgets
    assert day.covers == "tenant is acme or b*, plan is present, user is absent"
    assert day.split == "one account per tenant and run"
    assert day.resets == "daily, Europe/Berlin"
    assert day.window_start.isoformat() == "2026-03-29T00:00:00+01:00"
    assert day.window_end.isoformat() == "2026-03-30T00:00:00+02:00"
    assert day.limits == {"cost": "USD 5.00", "model_calls": "1,000 model calls"}
    assert (week.resets, week.on_outage, week.limits) == (
        "weekly from monday, UTC",
        "open",
        {"tokens": "1,000,000 tokens"},
    )
    assert (ever.covers, ever.split, ever.resets) == ("every scope", "one account for all", "never")
    assert (ever.window_start, ever.window_end) == (None, None)
    assert ever.limits == {"cost": "USD 0.000000001", "runs": "1 run", "wall_clock": "1h 30m of wall clock"}
    assert said.unscoped == "deny"


@pytest.mark.parametrize(
    ("calendar", "words"),
    [
        ("period: monthly", "monthly, UTC"),
        ("period: monthly, cycle_day: 31", "monthly from day 31, UTC"),
        ("period: quarterly, year_start: 04-01", "quarterly, the year from 04-01, UTC"),
        ("period: yearly, year_start: 07-01, timezone: Asia/Tokyo", "yearly from 07-01, Asia/Tokyo"),
        ("period: weekly, week_start: sunday", "weekly from sunday, UTC"),
    ],
)
def test_where_a_period_begins_is_said_when_it_is_not_the_usual(calendar, words):
    assert explained(f"{calendar}, limits: {{cost: 1}}").resets == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("on_limit: reject", "calls are refused"),
        ("on_limit: reject_new_runs", "new runs"),
        ("on_limit: halt_run", "the run that met it is halted"),
        ("on_limit: downgrade_then_reject", "fallbacks of the route"),
        ("enforcement: soft", "marked as degraded"),
        ("enforcement: shadow", "recorded"),
        ("enforcement: shadow, on_limit: halt_run", "nothing is refused"),
    ],
)
def test_what_happens_at_the_limit(fields, words):
    assert words in explained(f"limits: {{cost: 1}}, {fields}").at_limit


def test_thresholds_come_in_the_order_in_which_they_are_met_with_their_actions():
    said = explained(
        "limits: {cost: 1, tokens: 5}, thresholds: [{at: 90.5, meter: cost, actions: "
        "[downgrade_model, {downgrade_model: gpt-4o-mini}, {webhook: ops}, "
        "{limit_capabilities: {max_tokens: 0.5, iterations: 3}}]}, 50]"
    )
    assert [(one.at, one.meter) for one in said.thresholds] == [(50, None), (90.5, "cost")]
    assert said.thresholds[0].actions == ("log", "callback")
    assert said.thresholds[1].actions == (
        "downgrade_model",
        "downgrade_model gpt-4o-mini",
        "webhook ops",
        "limit_capabilities (max_tokens x 0.5, iterations 3)",
    )


@pytest.mark.parametrize(
    ("on_denied", "words"),
    [
        ("raise", "raise"),
        ("{return: null}", "return None"),
        ("{return: sorry}", "return 'sorry'"),
        ("{wait: 30s}", "wait 30s"),
    ],
)
def test_what_a_refused_call_does(on_denied, words):
    assert explained(f"limits: {{cost: 1}}, on_denied: {on_denied}").on_denied == words


def test_a_budget_of_constraints_alone_has_no_limit_to_be_at():
    said = explained("constraints: {iterations: 1, cost: '0.50', wall_clock: 90}")
    assert said.constraints == {
        "cost": "USD 0.50",
        "iterations": "1 iteration",
        "wall_clock": "1m 30s of wall clock",
    }
    assert (said.limits, said.at_limit) == ({}, "")
