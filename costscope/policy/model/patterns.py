"""How a `match` decides: about a label's value, about a scope by all of its labels, and which of many rules can hold.

Exact text, or a glob in which `*` is any text.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from costscope.policy.model.labels import normalise_value, value_problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from costscope.policy.model.controls import Pattern


def is_glob(pattern: str) -> bool:
    """Tell whether a pattern has a `*`; nothing else is special."""
    return "*" in pattern


def matches(pattern: str, value: str) -> bool:
    """Tell whether the whole value fits the pattern. Case-sensitive, and linear for any pattern and value.

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


def pattern_problem(pattern: str) -> str | None:
    """Say why no label's value can fit a pattern, as the end of a sentence; None if one can."""
    if not is_glob(pattern):
        return value_problem(pattern)
    return value_problem(normalise_value(pattern).replace("*", "")) if pattern.strip("*") else None


LEVELS: Final = ("organization", "team", "tenant", "user", "strand", "workflow", "agent", "run")
"""The usual labels, the widest first. Labels of the user's own stand at no level."""

STANDING_LEVELS: Final = LEVELS[:-1]
"""Those that outlive a run."""

Specificity = tuple[int, int, int, int]
"""The deepest level that `match` names, how many labels are looked at, how many are named exactly, how many by a
pattern with more than `*`. Compared from left to right; the larger one is the more specific."""

_DEPTH: Final = {label: depth for depth, label in enumerate(LEVELS, 1)}


def specificity(match: Mapping[str, Pattern], per: Collection[str]) -> Specificity:
    """Say how specific a budget or route with this `match` and `per` is: it decides about constraints, and about order."""
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


Rules = tuple[tuple[str, tuple[str, ...] | None], ...]
"""A `match` as `(label, patterns)`: one of the patterns must fit; None: the label must be absent."""

_Entry = tuple[str, str, bool]
"""Where a rule stands in an index: its label, a pattern's text up to the first `*`, and whether it has one. Empty and
without one, which no value is: the label must be absent."""


def rules_of(match: Mapping[str, Pattern]) -> Rules:
    """Write a `match` as rules, its patterns normalised as labels are."""
    return tuple((label, _alternatives(pattern)) for label, pattern in match.items())


def rules_hold(rules: Rules, labels: Mapping[str, str]) -> bool:
    """Tell whether every rule holds for these labels, as `check_labels` returned them."""
    for label, patterns in rules:
        value = labels.get(label)
        if patterns is None:
            if value is not None:
                return False
        elif value is None or not any(matches(pattern, value) for pattern in patterns):
            return False
    return True


class RuleIndex:
    """Many rules, asked which of them hold for some labels; the answer takes time with those that can.

    Each of them is entered under one of its labels: under exact values, under what stands before the first `*` of a
    pattern (nothing, for `*` itself), or under the label's absence. It is the label under which the fewest others
    stand: of `{tenant: acme, user: u-17}` that is the user where a thousand budgets name the tenant.

    Args:
        rules: in the order in which they are to be found.
    """

    def __init__(self, rules: Sequence[Rules]) -> None:
        self._rules = rules
        self._always: list[int] = []
        self._at: dict[_Entry, list[int]] = {}
        self._lengths: dict[str, set[int]] = {}
        choices = [[_entries(label, patterns) for label, patterns in one] for one in rules]
        crowd = Counter(entry for one in choices for entries in one for entry in entries)
        for number, one in enumerate(choices):
            if not one:
                self._always.append(number)
                continue
            for entry in (
                one[0] if len(one) == 1 else min(one, key=lambda some: sum(crowd[entry] for entry in some))
            ):
                self._at.setdefault(entry, []).append(number)
        for label, text, is_open in self._at:
            if is_open:
                self._lengths.setdefault(label, set()).add(len(text))
        self._absent = tuple(label for label, text, is_open in self._at if not is_open and not text)

    def find(self, labels: Mapping[str, str]) -> list[int]:
        """List the numbers of the rules that hold for these labels, in their order."""
        found = {number for entry in self._looked_up(labels) for number in self._at.get(entry, ())}
        return [
            number for number in sorted(found.union(self._always)) if rules_hold(self._rules[number], labels)
        ]

    def _looked_up(self, labels: Mapping[str, str]) -> Iterator[_Entry]:
        for label, value in labels.items():
            yield label, value, False
            for length in self._lengths.get(label, ()):
                yield label, value[:length], True
        for label in self._absent:
            if label not in labels:
                yield label, "", False


def _entries(label: str, patterns: tuple[str, ...] | None) -> list[_Entry]:
    if patterns is None:
        return [(label, "", False)]
    return [(label, one.partition("*")[0], is_glob(one)) for one in patterns]


def _alternatives(pattern: Pattern) -> tuple[str, ...] | None:
    if pattern is None:
        return None
    return tuple(normalise_value(one) for one in ((pattern,) if isinstance(pattern, str) else pattern))
