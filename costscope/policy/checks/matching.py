"""`match` and `per`: rules that no scope can meet, and labels that cannot be any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.policy.document import cut
from costscope.policy.labels import name_problem, normalised, value_problem
from costscope.policy.patterns import is_glob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.policy.controls import Pattern
    from costscope.policy.document import Steps

__all__ = ["MAX_PER", "match_problems", "per_problems"]

MAX_PER: Final = 16
"""Labels a budget may be split by."""


def match_problems(match: Mapping[str, Pattern]) -> Iterator[tuple[Steps, str]]:
    """What is wrong with a `match`."""
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
            wrong = _pattern_problem(one)
            if wrong:
                place: Steps = () if isinstance(pattern, str) else (index,)
                yield ("match", label, *place), f"{cut(one)} can never be a label's value: it {wrong}"


def per_problems(per: tuple[str, ...], match: Mapping[str, Pattern]) -> Iterator[tuple[Steps, str]]:
    """What is wrong with a `per`."""
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


def _pattern_problem(pattern: str) -> str | None:
    if is_glob(pattern):
        literal = normalised(pattern).replace("*", "")
        return value_problem(literal) if literal else None
    return value_problem(pattern)
