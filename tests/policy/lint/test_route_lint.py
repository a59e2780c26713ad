"""Routes that are never reached, and triggers that never fire."""

import pytest

PRICES = "prices: {models: {a: {input: 2, output: 2}, b: {input: 1, output: 1}}}\n"


def routing(*routes):
    return PRICES + "routing:\n" + "".join(f"  - {{id: r{at}, {one}}}\n" for at, one in enumerate(routes))


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        ("stages: [{model: a}]", "match: {tenant: x}, stages: [{model: b}]", True),
        ("match: {tenant: x}, stages: [{model: a}]", "stages: [{model: b}]", False),
        ("models: ['gpt-*'], stages: [{model: a}]", "models: [gpt-4o], stages: [{model: b}]", True),
        ("models: [gpt-4o], stages: [{model: a}]", "models: ['gpt-*'], stages: [{model: b}]", False),
        ("stages: [{stage: plan, model: a}]", "stages: [{stage: plan, model: b}]", True),
        ("stages: [{stage: plan, model: a}]", "stages: [{stage: write, model: b}]", False),
        ("stages: [{stage: plan, model: a}]", "stages: [{model: b}]", False),
    ],
)
def test_a_route_behind_one_that_takes_all_of_its_calls(warnings_of, first, second, hidden):
    found = warnings_of(routing(first, second))
    assert list(found) == (["$.routing[1]"] if hidden else [])
    assert all("put this one first" in problem for problem in found.values())


def test_the_router_agrees_that_it_is_never_reached():
    from costscope.engine.control.call_stats import ModelHealth
    from costscope.engine.control.router import Router
    from costscope.policy.load.loader import parse_policy

    text = routing("stages: [{model: a}]", "match: {tenant: x}, stages: [{model: b}]")
    found = Router(parse_policy(text), ModelHealth()).destination({"tenant": "x"}, "m", None)
    assert found is not None
    assert found.routing.model == "a"


def test_triggers_without_fallbacks(warnings_of):
    found = warnings_of(routing("stages: [{model: a, downgrade_on: {utilization_above: 50}}]"))
    assert list(found) == ["$.routing[0].stages[0].downgrade_on"]


def test_a_trigger_that_waits_for_a_threshold_nobody_has(warnings_of):
    text = routing("stages: [{model: a, fallback: b, downgrade_on: {soft_threshold_exceeded: true}}]")
    budget = "budgets: [{id: x, limits: {cost: 1}, thresholds: [{at: 50, actions: [%s]}]}]\n"
    assert list(warnings_of(text + budget % "log")) == [
        "$.routing[0].stages[0].downgrade_on.soft_threshold_exceeded"
    ]
    assert warnings_of(text + budget % "downgrade_model") == {}
