"""A policy in words."""

import datetime as dt

from costscope.policy import explain, parse_policy

NOW = int(dt.datetime(2026, 3, 29, 12, tzinfo=dt.UTC).timestamp() * 1000)


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
- {id: ever, limits: {cost: "0.000000001"}}
""")
    explained = explain(policy, NOW)
    day, week, ever = explained.budgets
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
    assert ever.limits == {"cost": "USD 0.000000001"}
    assert explained.unscoped == "deny"
