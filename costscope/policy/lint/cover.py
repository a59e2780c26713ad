"""When a rule covers all that another one covers, as far as that can be told from the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.policy.patterns import is_glob, matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costscope.policy.schema import Rules

__all__ = ["covers_patterns", "covers_rules", "fixed_labels"]


def covers_rules(broad: Rules, narrow: Rules) -> bool:
    """True if every scope that meets the narrow rules meets the broad ones. False also means: cannot be told."""
    given = dict(narrow)
    for label, patterns in broad:
        if label not in given:
            return False
        inner = given[label]
        if patterns is None or inner is None:
            if patterns is not inner:
                return False
        elif not covers_patterns(patterns, inner):
            return False
    return True


def covers_patterns(broad: Sequence[str], narrow: Sequence[str]) -> bool:
    """True if every value that fits one of the narrow patterns fits one of the broad ones."""
    return all(any(_covers(wide, one) for wide in broad) for one in narrow)


def fixed_labels(rules: Rules) -> frozenset[str]:
    """The labels that have one and the same value, or none, in every scope that meets the rules."""
    return frozenset(
        label
        for label, patterns in rules
        if patterns is None or (len(patterns) == 1 and not is_glob(patterns[0]))
    )


def _covers(wide: str, one: str) -> bool:
    if wide == one or not wide.strip("*"):
        return True
    if not is_glob(one):
        return matches(wide, one)
    # Of two globs only the common form is decided: `trial-*` covers `trial-eu-*`.
    return wide.endswith("*") and not is_glob(wide[:-1]) and one.startswith(wide[:-1])
