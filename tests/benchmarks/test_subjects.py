"""What the benchmarks of acting policies and of runs set up is what they say; how fast it is, is not judged here."""

from __future__ import annotations

import importlib

import pytest

from costscope import metered_tool
from costscope.scope.scope import state_of


@pytest.fixture
def subject(harness):
    """A module of the benchmarks by its name."""
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_calls_over_which_policies_act_are_compared_with_the_same_calls_in_a_run_and_outside(
    subject, harness
):
    controlled = subject("controlled_call")
    times = {"plain": [10.0], "in a run": [11.0], "acting": [13.0]}
    inside, outside = controlled._figures("tool call", harness.Rounds(times))
    assert (inside.figure, inside.target.bound, outside.figure, outside.target) == (2.0, 3, 3.0, None)


def test_only_the_acting_calls_meet_thresholds_a_route_and_detection(subject):
    controlled = subject("controlled_call")
    with controlled._settings() as settings:
        for name, (runtime, context) in settings.items():
            scope = context.run(runtime.current_scope)
            acting = name == "acting"
            assert (state_of(scope).current_watch() is not None) is acting
            assert (state_of(scope).destination("bench-model", None) is not None) is acting
            assert (state_of(scope).run is not None) is (name != "plain")
            assert (state_of(scope).run is not None and state_of(scope).run.detector is not None) is acting
            assert len([row for row in scope.balances() if row.meter in {"cost", "tool_calls"}]) == 6


def test_a_run_of_the_benchmark_in_which_something_comes_about_fails(subject):
    controlled = subject("controlled_call")

    def repeat_a_call():
        with controlled._settings() as settings:
            runtime, context = settings["acting"]
            search = metered_tool("search", runtime=runtime)(lambda: None)
            for _ in range(10):
                context.run(search)

    with pytest.raises(RuntimeError, match="calls in which nothing was to come about: RunawayDetected"):
        repeat_a_call()


def test_the_admission_of_a_run_and_its_end_are_one_request_each(subject, harness):
    figures = {figure.name: figure for figure in subject("runs").measure(harness.Effort(quick=True))}
    for what in ("requests of the ledger for the admission of a run", "requests of the ledger for its end"):
        assert (figures[what].figure, figures[what].met) == (1, True)
    assert figures["admission of a run on Valkey"].ours > 0
