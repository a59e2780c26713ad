"""How a budget's `match` decides about a label's value: exact text, or a glob in which `*` is any text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from costscope.policy.model.controls import Pattern


def is_glob(pattern: str) -> bool:
    """True if the pattern has a `*`; nothing else is special."""
    return "*" in pattern


def matches(pattern: str, value: str) -> bool:
    """True if the whole value fits the pattern. Case-sensitive; linear, whatever the pattern and the value.

    Not a regular expression: values come from users, and `*a*a*a*b` would make one backtrack for minutes.
    """
    if not is_glob(pattern):
        return pattern == value
    first, *middle, last = pattern.split("*")
    if len(value) < len(first) + len(last) or not value.startswith(first) or not value.endswith(last):
        return False
    position, end = len(first), len(value) - len(last)
    for part in middle:
        # The leftmost place leaves the most room for the parts that follow.
        found = value.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


LEVELS: Final = ("organization", "team", "tenant", "user", "strand", "workflow", "agent", "run")
"""The usual labels, the widest first. Labels of the user's own stand at no level."""

STANDING_LEVELS: Final = LEVELS[:-1]
"""Those that outlive a run."""

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
