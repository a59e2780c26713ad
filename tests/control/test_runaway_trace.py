"""The defaults on a production hour: they find nothing in normal work, and what goes wrong in it soon."""

from __future__ import annotations

import contextlib
import random

import pytest
from azure_trace import AGENTS, CUTS, cut, dealt, replay, requests

from costscope import RunHalted, budget_scope, metered_model
from costscope.policy.model.controls import Runaway
from costscope.scope.scope import state_of

DEFAULT = Runaway()
ANY = Runaway(failures=0, burn_rate=0.01, repeats=2)
"""Tells how close it came."""


SEEDS = range(3)


@pytest.fixture(scope="module")
def trace():
    return requests()


def test_the_defaults_are_those_that_are_promised():
    assert (DEFAULT.failures, DEFAULT.burn_rate, DEFAULT.repeats) == (3, 2.0, 10)


@pytest.mark.parametrize("name", CUTS)
def test_agents_that_take_turns_are_left_alone(trace, name):
    length_s, step_s = CUTS[name]
    runs = [run for agents in AGENTS for run in cut(trace, length_s, step_s, agents)]
    assert len(runs) == {"whole": 1, "halves": 2, "forty minutes": 4, "half an hour": 5}[name] * sum(AGENTS)
    assert [found for run in runs if (found := replay(run, DEFAULT))] == []


@pytest.mark.parametrize("stays", [0.0, 0.5, 0.9, 0.97])
def test_agents_that_work_in_bursts_are_left_alone(trace, stays):
    runs = [run for agents in AGENTS for seed in SEEDS for run in dealt(trace, agents, stays, seed)]
    assert sum(map(len, runs)) == len(SEEDS) * len(AGENTS) * len(trace)
    assert [found for run in runs if (found := replay(run, DEFAULT))] == []


def test_the_detectors_had_something_to_look_at(trace):
    """The whole hour as one run, and as ten: rates are compared in all, and some lengths repeat themselves."""
    for agents in (1, 10):
        for run in cut(trace, 3600, 3600, agents):
            said = [suspicion for _, suspicion in replay(run, ANY)]
            rates = [one.measured for one in said if one.reason == "burn_rate"]
            repeats = [one.measured for one in said if one.reason == "repeats"]
            assert len(rates) > 10
            assert 0.5 < max(rates) < 1.5
            assert 2 <= max(repeats) <= 7


# --------------------------------------------------------------------- the same hour, and something goes wrong


def broken(run, at_s, change):
    """The run as it is, and from a moment on what `change` makes of each request, numbered from there."""
    before = [one for one in run if one.at_s < at_s]
    after = [one for one in run if one.at_s >= at_s]
    changed = [each for number, one in enumerate(after) for each in change(number, one)]
    return len(before), sorted([*before, *changed], key=lambda one: one.at_s)


def found_after(run, at_s, change):
    """Each reason, and after how many calls and seconds it was first found; nothing was before."""
    first, run = broken(run, at_s, change)
    found = {}
    for number, suspicion in replay(run, DEFAULT):
        assert number >= first
        found.setdefault(suspicion.reason, (number - first + 1, run[number].at_s - at_s))
    return found


RUNS = [(agents, agent) for agents in (1, 5, 20) for agent in range(0, agents, 3)]


@pytest.fixture(params=RUNS, ids=str)
def run(trace, request):
    agents, agent = request.param
    return trace[agent::agents]


@pytest.mark.parametrize("at_s", [0, 600, 1800, 3000])
def test_a_service_that_is_gone_is_found_at_the_third_call(run, at_s):
    found = found_after(run, at_s, lambda _, one: [one._replace(failed=True)])
    assert found["failures"][0] == 3


@pytest.mark.parametrize("at_s", [0, 600, 1800, 3000])
def test_every_second_call_the_same_is_found_within_twenty(run, at_s):
    found = found_after(run, at_s, lambda number, one: [one._replace(context=77) if number % 2 else one])
    assert found["repeats"][0] <= 20


@pytest.mark.parametrize("at_s", [1200, 1500, 1800])
def test_four_times_the_calls_are_found_within_a_quarter_of_an_hour(run, at_s):
    """Of other lengths, so that they are no repetition."""
    chance = random.Random(1)

    def more(_, one):
        sizes = [max(one.context + chance.randrange(-900, 900), 1) for _ in range(3)]
        return [one, *[one._replace(context=size, at_s=one.at_s + 0.01) for size in sizes]]

    calls, seconds = found_after(run, at_s, more)["burn_rate"]
    assert calls > 20
    assert seconds < 900


@pytest.mark.parametrize("at_s", [1200, 1500, 1800])
def test_a_context_that_grows_and_grows_is_found(run, at_s):
    """Each call carries all that was said since: nobody cuts it."""
    dear = found_after(
        run, at_s, lambda _, one: [one._replace(context=round(one.context * (1 + (one.at_s - at_s) / 60)))]
    )
    assert dear["burn_rate"][1] < 600


# -------------------------------------------------------------------------------- through the decorators


def test_through_the_decorators(trace, watching, passing, settle, colour):
    """One of ten agents, 880 calls: all its work is made and charged to the token, and nobody is suspected."""
    runtime, heard = watching()
    run = trace[3::10]
    ask = metered_model(
        "m", price={"input": "2.5", "output": "10"}, usage=lambda sizes: sizes, estimate="1", runtime=runtime
    )(colour.define(lambda sizes: sizes))
    with budget_scope(runtime=runtime, run="normal") as scope:
        last_s = 0.0
        for one in run:
            passing(scope, one.at_s - last_s)
            last_s = one.at_s
            colour.run(ask, (one.context, one.generated))
        assert state_of(scope).run.goes_on
    assert heard() == []
    snapshot = runtime.store.snapshot()
    (account,) = [account for account in snapshot.accounts if account.key.startswith("all/")]
    assert account.meters["cost"].spent == sum(one.cost for one in run)
    settle(runtime)


def test_what_speeds_up_is_found_through_the_decorators(trace, watching, passing, colour):
    """The same agent; after half an hour its context is four times as long."""
    runtime, heard = watching()
    _, run = broken(trace[3::10], 1800, lambda _, one: [one._replace(context=4 * one.context)])
    ask = metered_model(
        "m", price={"input": "2.5", "output": "10"}, usage=lambda sizes: sizes, estimate="1", runtime=runtime
    )(colour.define(lambda sizes: sizes))
    last_s = 0.0
    with budget_scope(runtime=runtime, run="wild") as scope, contextlib.suppress(RunHalted):
        for one in run:
            passing(scope, one.at_s - last_s)
            last_s = one.at_s
            colour.run(ask, (one.context, one.generated))
    assert [event.reason for event in heard()] == ["burn_rate"]
    assert 1800 < last_s < 2700
