"""Which of two budgets is the more specific one: the question that decides about constraints, and about order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from costscope.policy.patterns import is_glob

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from costscope.policy.controls import Pattern

__all__ = ["LEVELS", "Specificity", "specificity"]

LEVELS: Final = ("organization", "team", "tenant", "user", "strand", "workflow", "agent", "run")
"""The usual labels, the widest first. Labels of the user's own stand at no level."""

Specificity = tuple[int, int, int, int]
"""The deepest level that `match` names, how many labels are looked at, how many are named exactly, how many by a
pattern with more than `*`. Compared from left to right; the larger one is the more specific."""

_DEPTH: Final = {label: depth for depth, label in enumerate(LEVELS, 1)}


def specificity(match: Mapping[str, Pattern], per: Collection[str]) -> Specificity:
    """How specific a rule with this `match` and `per` is."""
    exact = partial = 0
    for pattern in match.values():
        patterns = (pattern,) if isinstance(pattern, str) else pattern or ()
        if not any(is_glob(one) for one in patterns):
            exact += 1
        elif all(one.strip("*") for one in patterns):
            partial += 1
    deepest = max(
        (_DEPTH.get(label, 0) for label, pattern in match.items() if pattern is not None), default=0
    )
    return deepest, len({*match, *per}), exact, partial
