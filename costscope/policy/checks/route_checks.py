"""Routes: stages that can be reached and do something, triggers within their range.

Of the detection of runaways: numbers that would fire on everything, or on nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from costscope.errors import InvalidAmount
from costscope.policy.checks.threshold_checks import actions_problems
from costscope.policy.checks.value_checks import (
    duration_problem,
    id_problems,
    match_problems,
    percent_problem,
)
from costscope.policy.load.document import cut
from costscope.pricing.money import to_nano

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costscope.policy.load.document import Steps
    from costscope.policy.model.controls import Route, Runaway, Stage, Triggers


_ALL = 100.0
_UTILIZATION_MOST = 10_000.0


def route_problems(route: Route, ids: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    """Yield what is wrong with a route, before which those with these ids stand."""
    yield from id_problems(route.id, ids, "routing")
    yield from match_problems(route.match)
    if not route.models:
        yield ("models",), 'the list is empty, so no call is routed; name a model, or leave it out for "*"'
    for index, pattern in enumerate(route.models):
        if not pattern:
            yield ("models", index), 'is empty, and no model is called that; name one, or "*" for any'
    if not route.stages:
        yield ("stages",), "no stage, so the route does nothing; add one such as {model: gpt-4o-mini}"
    for index, stage in enumerate(route.stages):
        for steps, problem in _stage_problems(stage):
            yield ("stages", index, *steps), problem
        for before, other in enumerate(route.stages[:index]):
            if other.stage in {"*", stage.stage}:
                remedy = "put it before that one" if other.stage == "*" else "keep one"
                yield (
                    ("stages", index, "stage"),
                    f"{cut(stage.stage)} is never reached, stages[{before}] takes all of it; {remedy}",
                )
                break


def _stage_problems(stage: Stage) -> Iterator[tuple[Steps, str]]:
    if not stage.stage:
        yield ("stage",), 'is empty; name the stage, or leave it out for "*", which is any or none'
    if stage.model is None and not stage.fallbacks and stage.max_tokens is None:
        yield (), "the stage changes nothing; add a model, fallbacks or max_tokens"
    if stage.model == "":
        yield ("model",), "is empty; name a model, or leave it out for the one the call asks for"
    if stage.max_tokens is not None and stage.max_tokens < 1:
        yield ("max_tokens",), f"{cut(stage.max_tokens)} leaves no room for an answer; give at least 1"
    for index, model in enumerate(stage.fallbacks):
        if not model:
            yield ("fallbacks", index), "is empty; name a model"
        elif model == stage.model or model in stage.fallbacks[:index]:
            yield ("fallbacks", index), f"{cut(model)} stands before already; a chain goes to each model once"
    if stage.downgrade_on is not None:
        for steps, problem in _trigger_problems(stage.downgrade_on):
            yield ("downgrade_on", *steps), problem


def _trigger_problems(triggers: Triggers) -> Iterator[tuple[Steps, str]]:
    if triggers.remaining_budget_below is not None:
        try:
            below = to_nano(triggers.remaining_budget_below, what="remaining_budget_below")
        except InvalidAmount as error:
            yield ("remaining_budget_below",), str(error)
        else:
            if below == 0:
                yield ("remaining_budget_below",), "nothing is below 0; give an amount such as 5.00"
    checked = {
        "utilization_above": triggers.utilization_above is not None
        and percent_problem(
            triggers.utilization_above, "utilization_above", most=_UTILIZATION_MOST, zero=True
        ),
        "latency_above": triggers.latency_above is not None
        and duration_problem(triggers.latency_above, "latency_above"),
        "error_rate_above": triggers.error_rate_above is not None
        and percent_problem(triggers.error_rate_above, "error_rate_above", most=_ALL, zero=True),
    }
    for field, problem in checked.items():
        if problem:
            yield (field,), problem


_COUNT_MOST = 1_000_000


def runaway_problems(runaway: Runaway, webhooks: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    """Yield what is wrong with the detection of runaways."""
    yield from match_problems(runaway.match)
    for field, least, what in (
        ("failures", 1, "calls that fail one after the other, such as 3"),
        ("repeats", 2, "how often the same call may be made, such as 10"),
    ):
        value = getattr(runaway, field)
        if value != 0 and not least <= value <= _COUNT_MOST:
            yield (field,), f"{cut(value)} is out of range; give {what}, or 0 to switch this off"
    rate = runaway.burn_rate
    if rate != 0 and not (math.isfinite(rate) and rate > 1):
        yield (
            ("burn_rate",),
            (
                f"{cut(rate)} is out of range; give a multiple of the run's own rate above 1, such as 2, "
                "or 0 to switch this off"
            ),
        )
    if not (runaway.failures or rate or runaway.repeats):
        yield (), "every detector is switched off; write `runaway: false`"
    yield from actions_problems(runaway.actions, webhooks)
