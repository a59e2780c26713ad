"""Thresholds that are never met, actions with nowhere to go, webhooks that nobody calls."""

import pytest

ROUTE = "routing: [{id: r, stages: [{fallback: tiny}]}]\n"
OPS = "webhooks: {ops: {url: 'https://x.example/', secret_env: S}}\n"


@pytest.mark.parametrize("at", [101, 150])
def test_a_threshold_above_100_on_a_hard_limit(of_budgets, at):
    [(place, problem)] = of_budgets(f"limits: {{cost: 1}}, thresholds: [50, {at}]").items()
    assert place == "$.budgets[0].thresholds[1].at"
    assert f"{at} percent of a hard limit is never reached" in problem


@pytest.mark.parametrize("more", ["enforcement: soft", "enforcement: shadow", "on_limit: reject_new_runs"])
def test_a_threshold_above_100_where_the_limit_lets_calls_through(of_budgets, more):
    assert of_budgets(f"limits: {{cost: 1}}, thresholds: [100, 150], {more}") == {}


def test_a_threshold_that_was_meant_as_a_fraction(of_budgets):
    [(place, problem)] = of_budgets("limits: {cost: 1}, thresholds: [0.8]").items()
    assert (place, problem) == (
        "$.budgets[0].thresholds[0].at",
        "0.8 is less than one percent; was 80 meant?",
    )


@pytest.mark.parametrize("enforcement", ["soft", "shadow"])
def test_what_only_a_hard_limit_does(of_budgets, enforcement):
    found = of_budgets(
        f"limits: {{cost: 1}}, enforcement: {enforcement}, on_limit: halt_run, on_denied: {{wait: 1s}}"
    )
    assert set(found) == {"$.budgets[0].on_limit", "$.budgets[0].on_denied"}
    assert all(f"enforcement is {enforcement}" in problem for problem in found.values())


@pytest.mark.parametrize(
    ("budget", "place"),
    [
        ("thresholds: [{at: 80, actions: downgrade_model}]", "thresholds[0].actions[0]"),
        ("on_limit: downgrade_then_reject", "on_limit"),
    ],
)
def test_a_downgrade_with_nowhere_to_go(warnings_of, budget, place):
    text = f"budgets: [{{id: a, limits: {{cost: 1}}, {budget}}}]\n"
    [(found, problem)] = warnings_of(text).items()
    assert found == f"$.budgets[0].{place}"
    assert "nowhere to go" in problem
    prices = "prices: {models: {tiny: {input: 1, output: 1}}}\n"
    assert warnings_of(text + ROUTE + prices) == {}


def test_a_downgrade_to_a_model_by_name_needs_no_route(warnings_of):
    assert (
        warnings_of(
            "budgets: [{id: a, limits: {cost: 1}, thresholds: [{at: 80, actions: [{downgrade_model: tiny}]}]}]\n"
            "prices: {models: {tiny: {input: 1, output: 1}}}\n"
        )
        == {}
    )


def test_a_webhook_that_no_action_calls(warnings_of):
    text = OPS + "budgets: [{id: a, limits: {cost: 1}, thresholds: [50]}]\n"
    assert list(warnings_of(text)) == ["$.webhooks.ops"]
    assert warnings_of(text.replace("[50]", "[{at: 50, actions: webhook}]")) == {}
    assert warnings_of(text.replace("[50]", "[{at: 50, actions: [{webhook: ops}]}]")) == {}
    assert warnings_of(OPS + "runaway: {actions: [webhook]}\n") == {}


def test_a_throttle_without_a_reset_to_last_until(warnings_of):
    """In a threshold of such a budget it is refused; a runaway has every budget over it."""
    runaway = "budgets: [{id: b, %s limits: {cost: 5}}]\nrunaway: {actions: [log, throttle]}\n"
    assert list(warnings_of(runaway % "")) == ["$.runaway.actions[1]"]
    assert warnings_of(runaway % "period: daily,") == {}
