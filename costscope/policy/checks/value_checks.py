"""What a value of the right type can still get wrong: amounts, durations, ids, `match` and `per`."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Final

from costscope.errors import InvalidAmount
from costscope.ledger.meters import METERS, MONEY
from costscope.policy.load.document import cut
from costscope.policy.model.controls import WALL_CLOCK, ceiling
from costscope.policy.model.durations import to_ms
from costscope.policy.model.labels import name_problem
from costscope.policy.model.patterns import pattern_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from costscope.policy.load.document import Steps
    from costscope.policy.model.controls import Amount, Pattern
    from costscope.policy.model.durations import Duration


LIMITS: Final = (*(name for name, meter in METERS.items() if meter.kind != "order"), WALL_CLOCK)
"""What a budget can limit."""


def limit_problem(meter: str, amount: Amount) -> str | None:
    """Say what is wrong with a limit of a budget; None if nothing is."""
    if meter not in LIMITS:
        near = difflib.get_close_matches(meter[:64], LIMITS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(LIMITS)}"
        return f"unknown meter {cut(meter)}; {hint}"
    if meter == WALL_CLOCK:
        return duration_problem(amount, WALL_CLOCK)
    return amount_problem(meter, amount)


def amount_problem(meter: str, amount: Amount) -> str | None:
    """Say what is wrong with an amount of a meter; None if nothing is."""
    if meter not in MONEY and isinstance(amount, str):
        return f"{cut(amount)} is text; write a whole number without quotes, such as 1000"
    try:
        ceiling(meter, amount)
    except InvalidAmount as error:
        return str(error)
    return None


def duration_problem(duration: Duration, what: str, *, zero: bool = False) -> str | None:
    """Say what is wrong with a duration; that it is 0, unless that may be. None if nothing is."""
    try:
        milliseconds = to_ms(duration, what=what)
    except InvalidAmount as error:
        return str(error)
    if milliseconds == 0 and not zero:
        return f"{what}: {cut(duration)} ends before it begins; give at least 1ms, such as 30s"
    return None


def percent_problem(percent: float, what: str, *, most: float, zero: bool = False) -> str | None:
    """Say what is wrong with a percentage between 0 and `most`, both of which are outside (0 may be allowed)."""
    if math.isfinite(percent) and (percent > 0 or (zero and percent == 0)) and percent < most:
        return None
    least = "0" if zero else "more than 0"
    return f"{what}: {cut(percent)} is out of range; give percent, {least} and below {most:g}, such as 80"


_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def is_id(text: str) -> bool:
    """Tell whether a text can be an id: it becomes part of account keys and of records."""
    return _ID.fullmatch(text) is not None


def id_problems(text: str, before: Sequence[str], where: str) -> Iterator[tuple[Steps, str]]:
    """Yield what is wrong with an id, of which these came before in the same list."""
    if not is_id(text):
        yield ("id",), f"{cut(text)} is no id; use 1 to 64 letters, digits and _ . -"
    if text in before:
        yield ("id",), f"{cut(text)} is the id of {where}[{before.index(text)}] too; ids are unique"


MAX_PER: Final = 16
"""Labels a budget may be split by."""


def match_problems(match: Mapping[str, Pattern]) -> Iterator[tuple[Steps, str]]:
    """Yield what is wrong with a `match`: labels that cannot be any, patterns that no scope can meet."""
    for label, pattern in match.items():
        wrong = name_problem(label)
        if wrong:
            yield ("match", label), f"{cut(label)} {wrong}"
        if pattern is None:
            continue
        if not pattern and not isinstance(pattern, str):
            yield (
                ("match", label),
                "the list is empty, so no scope can match; name a value, or use null for an absent label",
            )
        for index, one in enumerate((pattern,) if isinstance(pattern, str) else pattern):
            wrong = pattern_problem(one)
            if wrong:
                place: Steps = () if isinstance(pattern, str) else (index,)
                yield ("match", label, *place), f"{cut(one)} can never be a label's value: it {wrong}"


def per_problems(per: tuple[str, ...], match: Mapping[str, Pattern]) -> Iterator[tuple[Steps, str]]:
    """Yield what is wrong with a `per`."""
    if len(per) > MAX_PER:
        yield (
            ("per",),
            f"{len(per)} labels, the limit is {MAX_PER}; every one is part of each account's key",
        )
    for index, label in enumerate(per[:MAX_PER]):
        wrong = name_problem(label)
        if wrong:
            yield ("per", index), f"{cut(label)} {wrong}"
        elif label in per[:index]:
            yield ("per", index), f"{label} is listed twice; keep one"
        elif label in match and match[label] is None:
            yield (
                ("per", index),
                f"match requires {label} to be absent, so there is nothing to split by; drop one",
            )
