"""Limits that can never bind, since a broader budget always stops first, and labels that look misspelt."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from costscope.ledger.meters import SLOTS
from costscope.policy.explain.budget_text import format_amount
from costscope.policy.model.patterns import LEVELS, is_glob, matches
from costscope.policy.resolve.levels import refuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from costscope.policy.load.document import Problem, Steps
    from costscope.policy.model.controls import Pattern
    from costscope.policy.model.patterns import Rules
    from costscope.policy.model.schema import Budget, Policy


def covers_rules(broad: Rules, narrow: Rules) -> bool:
    """Tell whether every scope that meets the narrow rules meets the broad ones. False also means: cannot be told."""
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
    """Tell whether every value that fits one of the narrow patterns fits one of the broad ones, as far as can be told."""
    return all(any(_covers(wide, one) for wide in broad) for one in narrow)


def fixed_labels(rules: Rules) -> frozenset[str]:
    """List the labels that have one and the same value, or none, in every scope that meets the rules."""
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


_INSIDE: Final = {
    "hourly": ("daily", "weekly", "monthly", "quarterly", "yearly"),
    "daily": ("weekly", "monthly", "quarterly", "yearly"),
}
"""Periods whose windows lie within one window of these, at any start of those."""


def binding_warnings(policy: Policy) -> Iterator[Problem]:
    """Yield each limit below which another budget that covers the same always stops."""
    for index, narrow in enumerate(policy.budgets):
        for meter, limit in narrow.ceilings:
            for before, broad in enumerate(policy.budgets):
                least = dict(broad.ceilings).get(meter)
                if broad is narrow or least is None or least > limit:
                    continue
                if not refuses(broad, in_run=True) or not _holds_all_of(broad, narrow, meter):
                    continue
                if least == limit and before > index and _holds_all_of(narrow, broad, meter):
                    continue  # they are the same; said once
                often = "in total" if broad.period == "total" else broad.period
                said = f"{format_amount(meter, least, policy.currency)} {often}"
                problem = f"can never bind: the budget {broad.id} covers all of it and stops at {said}"
                yield ("budgets", index, "limits", meter), f"{problem}; lower this limit, or remove it"
                break


def _holds_all_of(broad: Budget, narrow: Budget, meter: str) -> bool:
    """Tell whether all that counts in one account of the narrow budget counts in one account of the broad one."""
    if not covers_rules(broad.rules, narrow.rules):
        return False
    if not set(broad.per) <= {*narrow.per, *fixed_labels(narrow.rules)}:
        return False
    return meter in SLOTS or _windows_hold(broad, narrow)


def _windows_hold(broad: Budget, narrow: Budget) -> bool:
    if broad.period == "total":
        return True
    if broad.timezone != narrow.timezone:
        return False
    if broad.period == narrow.period:
        return _calendar(broad) == _calendar(narrow)
    if broad.period in _INSIDE.get(narrow.period, ()):
        return True
    if narrow.period == "quarterly" and broad.period == "yearly":
        return _calendar(broad) == _calendar(narrow)
    # Months that begin on the first lie within quarters and years that do.
    return (
        narrow.period == "monthly"
        and broad.period in {"quarterly", "yearly"}
        and narrow.cycle_day in {None, 1}
        and (broad.year_start or "01-01").endswith("-01")
    )


def _calendar(budget: Budget) -> tuple[object, ...]:
    return budget.week_start or "monday", budget.year_start or "01-01", budget.cycle_day or 1


_USUAL: Final = (*LEVELS, "stage")
_NEAR: Final = 0.8
"""`tenant_id` is that near to `tenant`, and `region` to nothing."""


def label_warnings(policy: Policy) -> Iterator[Problem]:
    """Yield each label that is nearly one of the usual ones: a budget that asks for a misspelt one is never met."""
    for index, budget in enumerate(policy.budgets):
        split = [(("per", at), label) for at, label in enumerate(budget.per) if label not in budget.match]
        yield from _misspelt_labels([*_of_match(budget.match), *split], ("budgets", index))
    for index, route in enumerate(policy.routing):
        yield from _misspelt_labels(_of_match(route.match), ("routing", index))
    if policy.runaway is not None:
        yield from _misspelt_labels(_of_match(policy.runaway.match), ("runaway",))


def _of_match(match: Mapping[str, Pattern]) -> list[tuple[Steps, str]]:
    return [(("match", label), label) for label in match]


def _misspelt_labels(labels: list[tuple[Steps, str]], within: Steps) -> Iterator[Problem]:
    together = {label for _, label in labels}
    for steps, label in labels:
        near = difflib.get_close_matches(label, _USUAL, n=1, cutoff=_NEAR)
        if near and together.isdisjoint(near):
            problem = f"{label} is no usual label, did you mean {near[0]}? Scopes without it miss this"
            yield (*within, *steps), problem
