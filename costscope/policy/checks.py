"""What a policy of the right shape can still get wrong: budgets that no scope can reach, limits that are none."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from costscope.errors import InvalidAmount
from costscope.ledger.meters import COUNTERS
from costscope.policy.document import Steps, cut
from costscope.policy.labels import name_problem, normalised, value_problem
from costscope.policy.patterns import is_glob
from costscope.policy.periods import load_zone
from costscope.policy.schema import Amount, Budget, Pattern, Policy, ceiling

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_PER", "problems"]

MAX_PER: Final = 16
"""Labels a budget may be split by."""

_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)

Problem = tuple[Steps, str]
"""Where, and what is wrong with the remedy."""


def problems(policy: Policy) -> Iterator[Problem]:
    """Every reason why the policy cannot be used, in the order of the file."""
    seen: dict[str, int] = {}
    for index, budget in enumerate(policy.budgets):
        place: Steps = ("budgets", index)
        if not _ID.fullmatch(budget.id):
            yield (*place, "id"), f"{cut(budget.id)} is no id; use 1 to 64 letters, digits and _ . -"
        if budget.id in seen:
            yield (
                (*place, "id"),
                f"{cut(budget.id)} is the id of budgets[{seen[budget.id]}] too; ids are unique",
            )
        seen.setdefault(budget.id, index)
        for steps, problem in _budget_problems(budget):
            yield (*place, *steps), problem
    if not _CURRENCY.fullmatch(policy.currency):
        yield ("currency",), f"{cut(policy.currency)} is no currency code; use three capitals such as USD"


def _budget_problems(budget: Budget) -> Iterator[Problem]:
    for label, pattern in budget.match.items():
        for steps, problem in _match_problems(label, pattern):
            yield ("match", label, *steps), problem
    yield from _per_problems(budget)
    try:
        load_zone(budget.timezone)
    except ValueError as error:
        yield ("timezone",), str(error)
    if budget.week_start is not None and budget.period != "weekly":
        yield ("week_start",), f"the period is {budget.period}; week_start is for weekly only, remove it"
    if not budget.limits:
        yield ("limits",), f"no limit, so the budget caps nothing; add one of {', '.join(COUNTERS)}"
    for meter, amount in budget.limits.items():
        wrong = _limit_problem(meter, amount)
        if wrong:
            yield ("limits", meter), wrong


def _match_problems(label: str, pattern: Pattern) -> Iterator[Problem]:
    wrong = name_problem(label)
    if wrong:
        yield (), f"{cut(label)} {wrong}"
    if pattern is None:
        return
    if not pattern and not isinstance(pattern, str):
        yield (), "the list is empty, so no scope can match; name a value, or use null for an absent label"
    alternatives = enumerate((pattern,) if isinstance(pattern, str) else pattern)
    for index, one in alternatives:
        wrong = _pattern_problem(one)
        if wrong:
            yield (
                () if isinstance(pattern, str) else (index,),
                f"{cut(one)} can never be a label's value: it {wrong}",
            )


def _pattern_problem(pattern: str) -> str | None:
    if is_glob(pattern):
        literal = normalised(pattern).replace("*", "")
        return value_problem(literal) if literal else None
    return value_problem(pattern)


def _per_problems(budget: Budget) -> Iterator[Problem]:
    if len(budget.per) > MAX_PER:
        yield (
            ("per",),
            f"{len(budget.per)} labels, the limit is {MAX_PER}; every one is part of each account's key",
        )
    for index, label in enumerate(budget.per[:MAX_PER]):
        wrong = name_problem(label)
        if wrong:
            yield ("per", index), f"{cut(label)} {wrong}"
        elif label in budget.per[:index]:
            yield ("per", index), f"{label} is listed twice; keep one"
        elif label in budget.match and budget.match[label] is None:
            yield (
                ("per", index),
                f"match requires {label} to be absent, so there is nothing to split by; drop one",
            )


def _limit_problem(meter: str, amount: Amount) -> str | None:
    if meter not in COUNTERS:
        near = difflib.get_close_matches(meter[:64], COUNTERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(COUNTERS)}"
        return f"unknown meter {cut(meter)}; {hint}"
    if meter != "cost" and isinstance(amount, str):
        return f"{cut(amount)} is text; write a whole number without quotes, such as 1000"
    try:
        ceiling(meter, amount)
    except InvalidAmount as error:
        return str(error)
    return None
