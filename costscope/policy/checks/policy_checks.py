"""All checks of a policy, in its order, and those of its routes, its detection of runaways and its webhooks."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from costscope.policy.checks.budget_checks import (
    action_problems,
    budget_problems,
    duration_problem,
    error_of,
    id_problems,
    is_id,
    match_problems,
    percent_problem,
    problems_at,
)
from costscope.policy.load.document import cut
from costscope.pricing.money import to_nano

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costscope.policy.load.document import Problem
    from costscope.policy.model.controls import Route, Runaway, Stage, Triggers, Webhook
    from costscope.policy.model.schema import Policy

_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_PERCENT_MOST: Final = {"utilization_above": 10_000.0, "error_rate_above": 100.0}
_COUNT_MOST: Final = 1_000_000
_COUNTS: Final = (
    ("failures", 1, "calls that fail one after the other, such as 3"),
    ("repeats", 2, "how often the same call may be made, such as 10"),
)
"""Of the detection of runaways: field, the least that makes sense, and what it is."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_NO_VARIABLE: Final = (
    "is not the name of an environment variable; name the one that holds the secret, such as "
    "OPS_WEBHOOK_SECRET, and keep the secret out of the file"
)
_URL_MAX: Final = 2048


def check_policy(policy: Policy) -> Iterator[Problem]:
    """Yield every reason why a policy cannot be used: where, and what."""
    webhooks = tuple(policy.webhooks)
    ids = [budget.id for budget in policy.budgets]
    for index, budget in enumerate(policy.budgets):
        yield from problems_at(("budgets", index), budget_problems(budget, ids[:index], webhooks))
    ids = [route.id for route in policy.routing]
    for index, route in enumerate(policy.routing):
        yield from problems_at(("routing", index), _route_problems(route, ids[:index]))
    if policy.runaway is not None:
        yield from problems_at(("runaway",), _runaway_problems(policy.runaway, webhooks))
    for name, webhook in policy.webhooks.items():
        yield from problems_at(("webhooks", name), _webhook_problems(name, webhook))
    if not _CURRENCY.fullmatch(policy.currency):
        yield ("currency",), f"{cut(policy.currency)} is no currency code; use three capitals such as USD"


def _route_problems(route: Route, ids: Sequence[str]) -> Iterator[Problem]:
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
        yield from problems_at(("stages", index), _stage_problems(stage))
        for before, other in enumerate(route.stages[:index]):
            if other.stage in {"*", stage.stage}:
                remedy = "put it before that one" if other.stage == "*" else "keep one"
                problem = f"{cut(stage.stage)} is never reached, stages[{before}] takes all of it; {remedy}"
                yield ("stages", index, "stage"), problem
                break


def _stage_problems(stage: Stage) -> Iterator[Problem]:
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
        yield from problems_at(("downgrade_on",), _trigger_problems(stage.downgrade_on))


def _trigger_problems(triggers: Triggers) -> Iterator[Problem]:
    for field in triggers.__struct_fields__:
        value, problem = getattr(triggers, field), None
        if value is None:
            continue
        if field == "remaining_budget_below":
            problem = error_of(to_nano, value, what=field)
            if problem is None and to_nano(value) == 0:
                problem = "nothing is below 0; give an amount such as 5.00"
        elif field == "latency_above":
            problem = duration_problem(value, field)
        elif field in _PERCENT_MOST:
            problem = percent_problem(value, field, most=_PERCENT_MOST[field], zero=True)
        if problem:
            yield (field,), problem


def _runaway_problems(runaway: Runaway, webhooks: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with numbers that would fire on everything, or on nothing."""
    yield from match_problems(runaway.match)
    for field, least, what in _COUNTS:
        value = getattr(runaway, field)
        if value != 0 and not least <= value <= _COUNT_MOST:
            yield (field,), f"{cut(value)} is out of range; give {what}, or 0 to switch this off"
    rate = runaway.burn_rate
    if rate != 0 and not (math.isfinite(rate) and rate > 1):
        what = "a multiple of the run's own rate above 1, such as 2"
        yield ("burn_rate",), f"{cut(rate)} is out of range; give {what}, or 0 to switch this off"
    if not (runaway.failures or rate or runaway.repeats):
        yield (), "every detector is switched off; write `runaway: false`"
    yield from action_problems(runaway.actions, webhooks)


def _webhook_problems(name: str, webhook: Webhook) -> Iterator[Problem]:
    if not is_id(name):
        yield (), f"{cut(name)} is no name of a webhook; use 1 to 64 letters, digits and _ . -"
    problem = _url_problem(webhook.url)
    if problem:
        yield ("url",), f"{cut(webhook.url)} {problem}"
    if not _VARIABLE.fullmatch(webhook.secret_env):  # not shown: it may be the secret itself
        yield ("secret_env",), _NO_VARIABLE
    problem = duration_problem(webhook.timeout, "timeout")
    if problem:
        yield ("timeout",), problem


def _url_problem(url: str) -> str | None:
    if len(url) > _URL_MAX:
        return f"has {len(url)} characters, the limit is {_URL_MAX}"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "is no URL; percent-encode what is not plain ASCII"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL; write https://HOST/PATH"
    if parts.scheme not in {"http", "https"} or not host:
        return "is no address to post to; write https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return "has a password in it, which the file would show; let the receiver check the signature"
    return None
