"""What speaks of runs where there are none."""

import pytest


@pytest.mark.parametrize(
    ("budget", "place"),
    [
        ("limits: {cost: 1}, on_limit: halt_run", "on_limit"),
        ("limits: {cost: 1}, on_limit: reject_new_runs", "on_limit"),
        ("limits: {runs: 1}", "limits.runs"),
        ("limits: {iterations: 1}", "limits.iterations"),
        ("limits: {concurrent_runs: 1}", "limits.concurrent_runs"),
        ("limits: {cost: 1}, constraints: {iterations: 1}", "constraints"),
        ("limits: {cost: 1}, thresholds: [{at: 50, actions: halt_run}]", "thresholds[0].actions[0]"),
    ],
)
def test_a_budget_that_covers_no_run(of_budgets, budget, place):
    assert list(of_budgets(f"{budget}, match: {{run: null}}")) == [f"$.budgets[0].{place}"]
    assert of_budgets(budget) == {}
    assert of_budgets(f"{budget}, match: {{run: '*'}}") == {}


def test_a_detection_that_leaves_every_run_out(warnings_of):
    assert list(warnings_of("runaway: {match: {run: null}}\n")) == ["$.runaway.match.run"]
