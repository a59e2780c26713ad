"""What a budget of the right shape can still get wrong: its `match`, its calendar, its limits and what it does at them.

Functions that yield problems say where, relative to the part they look at, and what is wrong with the remedy; the
others say what is wrong with one value, or None. Routes and the detection of runaways share most of them.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from costscope.ledger.meters import METERS, MONEY, SLOTS
from costscope.policy.load.document import cut, suggest
from costscope.policy.model.actions import ACTIONS, FIELDS, Action
from costscope.policy.model.controls import WALL_CLOCK, Constraints, ceiling
from costscope.policy.model.durations import Duration, to_ms
from costscope.policy.model.labels import name_problem
from costscope.policy.model.patterns import pattern_problem
from costscope.policy.model.periods import load_zone, month_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from costscope.policy.load.document import Problem, Steps
    from costscope.policy.model.controls import Amount, OnDenied, Pattern, Threshold
    from costscope.policy.model.schema import Budget

LIMITS: Final = (*(name for name, meter in METERS.items() if meter.kind != "order"), WALL_CLOCK)
"""What a budget can limit."""

MAX_PER: Final = 16
"""Labels a budget may be split by."""

_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_THRESHOLD_MOST: Final = 10_000.0
_MESSAGE_MOST: Final = 500
_DAYS_MOST: Final = 31
_PERIODS_OF: Final = {
    "week_start": ("weekly",),
    "year_start": ("quarterly", "yearly"),
    "cycle_day": ("monthly",),
}
"""The periods that begin on a day of the user's choice."""


def budget_problems(budget: Budget, ids: Sequence[str], webhooks: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with a budget, in the order in which people write one.

    Args:
        budget: any.
        ids: of the budgets before it.
        webhooks: the names of those there are.
    """
    yield from id_problems(budget.id, ids, "budgets")
    yield from match_problems(budget.match)
    yield from _per_problems(budget.per, budget.match)
    yield from _calendar_problems(budget)
    if not budget.limits and budget.constraints is None:
        yield ("limits",), f"no limit, so the budget caps nothing; add one of {', '.join(LIMITS)}"
    for meter, amount in budget.limits.items():
        problem = limit_problem(meter, amount)
        if problem:
            yield ("limits", meter), problem
    for index in range(len(budget.thresholds)):
        yield from problems_at(("thresholds", index), _threshold_problems(budget, index, webhooks))
    yield from problems_at(("on_denied",), _on_denied_problems(budget.on_denied))
    if budget.constraints is not None:
        yield from problems_at(("constraints",), _constraint_problems(budget.constraints))


def problems_at(place: Steps, problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield the problems of a part that stands at a place."""
    for steps, problem in problems:
        yield (*place, *steps), problem


def error_of(read: Callable[..., object], *given: object, **named: object) -> str | None:
    """Say why a value cannot be read; None if it can."""
    try:
        read(*given, **named)
    except ValueError as error:
        return str(error)
    return None


def limit_problem(meter: str, amount: Amount) -> str | None:
    """Say what is wrong with a limit of a budget or of a run."""
    if meter not in LIMITS:
        return f"unknown meter {cut(meter)}; {suggest(meter, LIMITS)}"
    if meter == WALL_CLOCK:
        return duration_problem(amount, WALL_CLOCK)
    if meter not in MONEY and isinstance(amount, str):
        return f"{cut(amount)} is text; write a whole number without quotes, such as 1000"
    return error_of(ceiling, meter, amount)


def duration_problem(duration: Duration, what: str, *, zero: bool = False) -> str | None:
    """Say what is wrong with a duration; that it is 0, unless that may be."""
    problem = error_of(to_ms, duration, what=what)
    if problem is None and not zero and to_ms(duration, what=what) == 0:
        return f"{what}: {cut(duration)} ends before it begins; give at least 1ms, such as 30s"
    return problem


def percent_problem(percent: float, what: str, *, most: float, zero: bool = False) -> str | None:
    """Say what is wrong with a percentage between 0 and `most`, both of which are outside (0 may be allowed)."""
    if math.isfinite(percent) and (percent > 0 or (zero and percent == 0)) and percent < most:
        return None
    least = "0" if zero else "more than 0"
    return f"{what}: {cut(percent)} is out of range; give percent, {least} and below {most:g}, such as 80"


def is_id(text: str) -> bool:
    """Tell whether a text can be an id: it becomes part of account keys and of records."""
    return _ID.fullmatch(text) is not None


def id_problems(text: str, before: Sequence[str], where: str) -> Iterator[Problem]:
    """Yield what is wrong with an id, of which these came before in the same list."""
    if not is_id(text):
        yield ("id",), f"{cut(text)} is no id; use 1 to 64 letters, digits and _ . -"
    if text in before:
        yield ("id",), f"{cut(text)} is the id of {where}[{before.index(text)}] too; ids are unique"


def match_problems(match: Mapping[str, Pattern]) -> Iterator[Problem]:
    """Yield what is wrong with a `match`: labels that cannot be any, patterns that no scope can meet."""
    for label, pattern in match.items():
        place: Steps = ("match", label)
        problem = name_problem(label)
        if problem:
            yield place, f"{cut(label)} {problem}"
        if pattern == ():
            problem = (
                "the list is empty, so no scope can match; name a value, or use null for an absent label"
            )
            yield place, problem
        alone = isinstance(pattern, str)
        for index, one in enumerate((pattern,) if isinstance(pattern, str) else pattern or ()):
            problem = pattern_problem(one)
            if problem:
                found = f"{cut(one)} can never be a label's value: it {problem}"
                yield place if alone else (*place, index), found


def _per_problems(per: tuple[str, ...], match: Mapping[str, Pattern]) -> Iterator[Problem]:
    if len(per) > MAX_PER:
        yield ("per",), f"{len(per)} labels, the limit is {MAX_PER}; every one is part of each account's key"
    for index, label in enumerate(per[:MAX_PER]):
        problem = name_problem(label)
        if problem:
            problem = f"{cut(label)} {problem}"
        elif label in per[:index]:
            problem = f"{label} is listed twice; keep one"
        elif label in match and match[label] is None:
            problem = f"match requires {label} to be absent, so there is nothing to split by; drop one"
        if problem:
            yield ("per", index), problem


def _calendar_problems(budget: Budget) -> Iterator[Problem]:
    problem = error_of(load_zone, budget.timezone)
    if problem:
        yield ("timezone",), problem
    for field, periods in _PERIODS_OF.items():
        value = getattr(budget, field)
        if value is None:
            continue
        if budget.period not in periods:
            only = " and ".join(periods)
            yield (field,), f"the period is {budget.period}; {field} is for {only} only, remove it"
        if field == "year_start":
            problem = error_of(month_day, value)
            if problem:
                yield (field,), problem
        if field == "cycle_day" and not 1 <= value <= _DAYS_MOST:
            problem = f"{cut(value)} is no day of a month; give 1 to 31 (31 is the last of each month)"
            yield (field,), problem


def _threshold_problems(budget: Budget, index: int, webhooks: Sequence[str]) -> Iterator[Problem]:
    threshold = budget.thresholds[index]
    meters = [meter for meter in budget.limits if meter != WALL_CLOCK]
    problem = percent_problem(threshold.at, "at", most=_THRESHOLD_MOST)
    if problem:
        yield ("at",), problem
    length = len(threshold.message)
    if length > _MESSAGE_MOST:
        problem = f"{length:,} characters, and it goes into every record; give at most {_MESSAGE_MOST}"
        yield ("message",), problem
    if not meters:
        yield (), "the budget limits no meter of which this could be a part; add one under `limits`"
    elif threshold.meter is not None and threshold.meter not in meters:
        problem = f"{cut(threshold.meter)} is not limited by this budget; it limits {', '.join(meters)}"
        yield ("meter",), problem
    for before, other in enumerate(budget.thresholds[:index]):
        if (other.at, other.meter) == (threshold.at, threshold.meter):
            yield (), f"{threshold.at:g} percent is thresholds[{before}] too; put their actions into one list"
    yield from action_problems(threshold.actions, webhooks)
    for number, action in enumerate(threshold.actions):
        if ACTIONS[action.do].needs_reset:
            yield from problems_at(("actions", number), _pacing_problems(budget, threshold, action.do))


def _pacing_problems(budget: Budget, threshold: Threshold, do: str) -> Iterator[Problem]:
    if budget.period == "total":
        what = f"{do} makes the rest last until the reset, and a total never resets"
        yield (), f"{what}; set a period, or use limit_capabilities"
    if threshold.meter in SLOTS:
        yield (), f"{do} paces what is used up, and {threshold.meter} come back; use halt_new_runs"


def _on_denied_problems(on_denied: OnDenied) -> Iterator[Problem]:
    if on_denied.do == "wait":
        problem = duration_problem(on_denied.timeout, "timeout")
        if on_denied.timeout == 0:
            yield (), "wait needs a timeout; write {wait: 30s}"
        elif problem:
            yield ("timeout",), problem
    for field, owner, default in (("timeout", "wait", 0), ("value", "return", None)):
        if on_denied.do != owner and getattr(on_denied, field) != default:
            yield (field,), f"{field} is for {owner}, and this is {on_denied.do}; remove it"


def _constraint_problems(constraints: Constraints) -> Iterator[Problem]:
    fields = Constraints.__struct_fields__
    given = {field: value for field in fields if (value := getattr(constraints, field)) is not None}
    if not given:
        yield (), f"nothing is limited; add one of {', '.join(fields)}, or remove it"
    for field, value in given.items():
        problem = limit_problem(field, value)
        if problem:
            yield (field,), problem


_OWNERS: Final = {
    field: " or ".join(name for name, row in ACTIONS.items() if field in row.fields)
    for field, default in zip(
        Action.__struct_fields__[-len(Action.__struct_defaults__) :], Action.__struct_defaults__, strict=True
    )
    if default is None
}
"""Of fields that show whether they were given: what takes them."""


def action_problems(actions: Sequence[Action], webhooks: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with a list of actions, where these webhooks exist."""
    if not actions:
        yield ("actions",), "the list is empty, so nothing would happen; name an action such as log"
    for index, action in enumerate(actions):
        yield from problems_at(("actions", index), _field_problems(action, webhooks))
        if action in actions[:index]:
            yield ("actions", index), f"{action.do} is listed twice with the same values; keep one"


def _field_problems(action: Action, webhooks: Sequence[str]) -> Iterator[Problem]:
    fields = ACTIONS[action.do].fields
    for field, owner in _OWNERS.items():
        if getattr(action, field) is not None and field not in fields:
            yield (field,), f"{field} is for {owner}, and this is {action.do}; remove it"
    caps = [field for field in fields if FIELDS[field] == "cap"]
    if caps and all(getattr(action, field) is None for field in caps):
        yield (), f"{action.do} limits nothing; add {' or '.join(caps)}, an amount (500) or a factor (0.5)"
    for field in fields:
        value = getattr(action, field)
        if FIELDS[field] == "webhook":
            yield from _receiver_problems(field, value, webhooks)
            continue
        problem = _value_problem(field, value)
        if problem:
            yield (field,), problem


def _value_problem(field: str, value: Duration | None) -> str | None:
    if FIELDS[field] == "model":
        empty = "is empty; name a model, or leave it out for the next fallback of the route"
        return empty if value == "" else None
    if FIELDS[field] == "duration":
        return None if value is None else duration_problem(value, field, zero=True)
    if isinstance(value, float) and not 0 < value < 1:
        no_factor = f"{field}: {cut(value)} is no factor between 0 and 1 (0.5 is one half)"
        return f"{no_factor}; an amount is a whole number such as 500"
    if isinstance(value, int) and value < 1:
        return f"{field}: {cut(value)} leaves nothing; give at least 1, or use halt_run"
    return None


def _receiver_problems(field: str, name: str | None, webhooks: Sequence[str]) -> Iterator[Problem]:
    if not webhooks:
        yield ("do",), "no webhook is defined; add `webhooks: {ops: {url: ..., secret_env: ...}}`"
    elif name is None and len(webhooks) > 1:
        yield ("do",), f"there are {len(webhooks)} webhooks; say which with `{field}`: {', '.join(webhooks)}"
    elif name is not None and name not in webhooks:
        yield (field,), f"no webhook is called {cut(name)}; {suggest(name, webhooks)}"
