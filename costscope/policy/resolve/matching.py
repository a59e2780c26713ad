"""Which budgets cover a scope: by its labels and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.policy.model.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from costscope.policy.model.schema import Budget, Policy

__all__ = ["covering", "covers", "rules_hold"]


def covers(budget: Budget, labels: Mapping[str, str]) -> bool:
    """True if the budget's `match` holds for a scope with these labels, as `check_labels` returned them."""
    return rules_hold(budget.rules, labels)


def rules_hold(rules: Iterable[tuple[str, tuple[str, ...] | None]], labels: Mapping[str, str]) -> bool:
    """True if every rule, as `rules_of` makes them of a `match`, holds for these labels."""
    for label, patterns in rules:
        value = labels.get(label)
        if patterns is None:
            if value is not None:
                return False
        elif value is None or not any(matches(pattern, value) for pattern in patterns):
            return False
    return True


def covering(policy: Policy, labels: Mapping[str, str]) -> tuple[Budget, ...]:
    """The budgets that cover a scope, the one that looks at most labels first, then in the file's order."""
    return tuple(budget for budget in policy.ranked if covers(budget, labels))
