"""A `match` made ready: whether it holds for a scope's labels, and which of many can."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from costscope.policy.model.labels import normalised
from costscope.policy.model.patterns import is_glob, matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from costscope.policy.model.controls import Pattern

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
    return tuple(normalised(one) for one in ((pattern,) if isinstance(pattern, str) else pattern))
