"""The three example files at work: what strands-costguard's document promises of them, where its code did not keep it."""

from __future__ import annotations

import contextlib
import contextvars

import pytest

from costscope import BudgetExceeded, budget_scope, metered_model, metered_tool, reserve
from costscope.events import CallDegraded, Downgraded, ThresholdCrossed

RUN = {"tenant": "prod-tenant", "strand": "support", "workflow": "answers"}
ANALYTICS = {"tenant": "prod-tenant", "strand": "analytics_assistant", "workflow": "data_analysis"}
MANY = 10_000


def spend(amount, runtime):
    """Cost, and nothing else."""
    with reserve(tool="something", price=amount, runtime=runtime):
        pass


def asking(runtime, colour, stage):
    """A model function that says where it was sent, and with which cap."""

    @metered_model(stage=stage, runtime=runtime)
    @colour.define
    def ask(prompt, model="gpt-4o", max_tokens=100):
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "sent": (model, max_tokens)}

    return lambda **given: colour.run(ask, "hi", **given)["sent"]


@pytest.fixture
def events(runtime):
    """What the runtime has told so far."""
    return runtime_events(runtime)


def runtime_events(runtime):
    heard = []
    runtime.events.add_sink(heard.append)
    return heard


def elsewhere(labels, runtime):
    """Open a scope that is not nested in the one around here, and leave it."""

    def open_it():
        with budget_scope(**labels, runtime=runtime):
            pass

    contextvars.Context().run(open_it)


def of(heard, kind):
    return [one for one in heard if isinstance(one, kind)]


# ----------------------------------------------------------------------------- hard limits


def test_reject_new_runs_lets_the_run_go_on_and_no_new_one_in(runtime, events):
    """`on_hard_limit_exceeded: REJECT_NEW_RUNS`: the original let every later run in until the first had ended."""
    with budget_scope(**RUN, run="r1", runtime=runtime):
        spend("999", runtime)
        spend("2", runtime)
        with pytest.raises(BudgetExceeded) as caught:
            elsewhere(RUN | {"workflow": "other", "run": "r2"}, runtime)
        assert caught.value.budget == "tenant-default"
        spend("3", runtime)
    [degraded] = of(events, CallDegraded)[:1]
    assert (degraded.budget, degraded.meter) == ("tenant-default", "cost")
    with budget_scope(**(RUN | {"tenant": "another"}), run="r3", runtime=runtime):
        spend("3", runtime)


def test_calls_outside_of_runs_are_refused_at_the_hard_limit(runtime):
    with budget_scope(**RUN, runtime=runtime):
        spend("1000", runtime)
        with pytest.raises(BudgetExceeded, match="tenant-default"):
            spend("0.01", runtime)


def test_runs_and_slots_of_the_analytics_strand(runtime, colour):
    """`max_concurrent_runs: 100` over all tenants; another strand has none."""
    with contextlib.ExitStack() as open_runs:
        for number in range(100):
            labels = ANALYTICS | {"tenant": f"t{number % 7}"}
            scope = budget_scope(**labels, run=f"r{number}", runtime=runtime)
            open_runs.callback(scope.__exit__, None, None, None)
            run_apart(scope)
        with pytest.raises(BudgetExceeded) as caught:
            colour.run(enter(colour, ANALYTICS | {"run": "late"}, runtime))
        assert (caught.value.budget, caught.value.meter) == ("analytics-strand", "concurrent_runs")
        colour.run(enter(colour, RUN | {"run": "late"}, runtime))


def run_apart(scope):
    """Enter a scope that is not to be around what follows."""
    contextvars.copy_context().run(scope.__enter__)


def enter(colour, labels, runtime):
    if colour.name == "sync":

        def run():
            with budget_scope(**labels, runtime=runtime):
                pass

        return run

    async def arun():
        async with budget_scope(**labels, runtime=runtime):
            pass

    return arun


def test_a_thousand_runs_a_day(runtime):
    for number in range(1000):
        with budget_scope(**ANALYTICS, run=f"r{number}", runtime=runtime):
            pass
    with pytest.raises(BudgetExceeded) as caught, budget_scope(**ANALYTICS, run="late", runtime=runtime):
        pass
    assert (caught.value.budget, caught.value.meter, caught.value.limit) == ("analytics-strand", "runs", 1000)


# ----------------------------------------------------------------------------- constraints


def test_eight_iterations_a_run(runtime):
    with budget_scope(**ANALYTICS, run="r1", runtime=runtime) as run:
        assert sum(1 for _ in run.iterations()) == 8
    with budget_scope(**RUN, run="r2", runtime=runtime) as run:
        turns = (turn for turn, _ in zip(range(20), run.iterations(), strict=False))
        assert sum(1 for _ in turns) == 20


def test_twenty_tool_calls_a_run(runtime, colour):
    @metered_tool("web_search", runtime=runtime)
    @colour.define
    def search():
        return "found"

    with budget_scope(**ANALYTICS, run="r1", runtime=runtime) as run:
        for _ in range(20):
            colour.run(search)
        with pytest.raises(BudgetExceeded) as caught:
            colour.run(search)
        assert (caught.value.meter, caught.value.limit) == ("tool_calls", 20)
        assert str(run.spent) == "0.20"  # cost_per_call: 0.01
    with budget_scope(**ANALYTICS, run="r2", runtime=runtime):
        colour.run(search)


def test_thirty_thousand_tokens_a_run_also_of_models_that_cost_nothing(runtime):
    """The original counted no tokens of a model without a price."""
    with budget_scope(**ANALYTICS, run="r1", runtime=runtime):
        for _ in range(3):
            with reserve(model="free", price=0, input_tokens=9_900, max_output_tokens=100, runtime=runtime):
                pass
        with pytest.raises(BudgetExceeded) as caught:
            reserve(
                model="free", price=0, input_tokens=9_900, max_output_tokens=100, runtime=runtime
            ).__enter__()
    assert (caught.value.meter, caught.value.limit) == ("tokens", 30_000)


# ----------------------------------------------------------------------------- soft thresholds and routing


def test_planning_goes_to_the_small_model_with_its_cap(runtime, colour):
    ask = asking(runtime, colour, "planning")
    with budget_scope(**RUN, run="r1", runtime=runtime):
        assert ask(max_tokens=5000) == ("gpt-4o-mini", 2000)
        assert ask(max_tokens=30) == ("gpt-4o-mini", 30)


def test_synthesis_falls_back_once_seventy_percent_are_spent(runtime, colour, events):
    """`soft_thresholds: [0.7, ...]` with `DOWNGRADE_MODEL` and `soft_threshold_exceeded: true`."""
    ask = asking(runtime, colour, "synthesis")
    with budget_scope(**RUN, run="r1", runtime=runtime):
        spend("690", runtime)
        assert ask() == ("gpt-4o", 100)
        spend("10", runtime)
        assert ask() == ("gpt-4o-mini", 100)
        spend("200", runtime)
    crossed = of(events, ThresholdCrossed)
    assert [(one.budget, one.threshold) for one in crossed] == [
        ("tenant-default", 70),
        ("tenant-default", 90),
    ]
    assert crossed[0].limit == 1000 * 10**9
    assert "downgrade_model" in crossed[0].actions
    [downgrade] = of(events, Downgraded)
    assert (downgrade.asked, downgrade.effective) == ("gpt-4o", "gpt-4o-mini")


def test_synthesis_falls_back_while_less_than_five_are_left_in_any_budget(runtime, colour):
    """`remaining_budget_below: 5.0`, here of the strand, whose threshold only logs."""
    ask = asking(runtime, colour, "synthesis")
    with budget_scope(**ANALYTICS, run="r1", runtime=runtime):
        spend("44", runtime)
        assert ask() == ("gpt-4o", 100)
        spend("1", runtime)
        assert ask() == ("gpt-4o-mini", 100)


def test_other_stages_go_where_they_ask_to(runtime, colour):
    ask = asking(runtime, colour, "review")
    with budget_scope(**RUN, run="r1", runtime=runtime):
        assert ask(model="gpt-4o", max_tokens=7) == ("gpt-4o", 7)


# ----------------------------------------------------------------------------- prices


@pytest.mark.parametrize(
    ("model", "nano"), [("gpt-4o", 2_500_000_000 + 10_000_000_000), ("gpt-4o-mini", 750_000_000)]
)
def test_prices_per_thousand_tokens_mean_what_they_say(runtime, colour, model, nano):
    """A thousand tokens in and a thousand out: 12.50 and 0.75. `costscope check` says that this may not be meant."""

    @metered_model(model, runtime=runtime)
    @colour.define
    def ask(prompt, max_tokens=1000):
        return {"usage": {"prompt_tokens": 1000, "completion_tokens": 1000}}

    with budget_scope(**RUN, runtime=runtime) as scope:
        colour.run(ask, "x" * 1000)
        assert scope.spent * 10**9 == nano
