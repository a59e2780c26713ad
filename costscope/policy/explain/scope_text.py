"""A whole policy in words, and what it says about the calls and runs of one scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.policy.explain.budget_text import (
    BudgetExplained,
    RouteExplained,
    explain_budget,
    explain_route,
    explain_runaway,
    explain_webhook,
    format_amount,
    format_pattern,
)
from costscope.policy.model.constraints import constraint_candidates, observed_constraints
from costscope.policy.model.controls import Enforcement
from costscope.policy.model.patterns import matches, rules_hold, rules_of
from costscope.policy.model.schema import Unscoped
from costscope.policy.resolve.accounts import account, slot_account
from costscope.policy.resolve.resolved import resolve_budgets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from costscope.policy.model.schema import Budget, Policy


class BudgetMet(msgspec.Struct, frozen=True):
    """A budget that covers the scope."""

    budget: BudgetExplained
    accounts: tuple[str, ...]
    """The keys under which it counts now: of the window, and of its slots."""


class ConstraintMet(msgspec.Struct, frozen=True):
    """One limit of each single run: of several budgets the most specific one's value holds."""

    limit: str
    """Such as `8 iterations`."""
    budget: str
    """Whose value it is."""
    instead_of: dict[str, str]
    """Budget to value, of those that said something else and are less specific."""


class ConstraintObserved(msgspec.Struct, frozen=True):
    """A limit of each single run in a budget that is not hard; such budgets have a say among themselves only."""

    limit: str
    budget: str
    enforcement: Enforcement


class ScopeExplained(msgspec.Struct, frozen=True):
    """What holds in a scope with these labels."""

    labels: dict[str, str]
    budgets: tuple[BudgetMet, ...]
    """All must hold; the most specific one first."""
    not_met: dict[str, str]
    """Budget to why it does not cover the scope, such as `tenant is acme, not globex`."""
    constraints: dict[str, ConstraintMet]
    """Field to what holds for each run."""
    observed: tuple[ConstraintObserved, ...]
    """Limits of each run above which it is only told of."""
    routes: tuple[RouteExplained, ...]
    """In the order in which they are asked; the first that takes a call's model and stage decides."""
    runaway: str
    """What its runs are watched for; empty if they are not."""


def explain_scope(policy: Policy, labels: Mapping[str, str], at_ms: int) -> ScopeExplained:
    """Say what holds in a scope.

    Args:
        policy: one from `load_policy`.
        labels: all labels in effect, as `check_labels` returned them.
        at_ms: the instant whose windows are shown, in ms since the epoch.
    """
    met = resolve_budgets(policy, labels)
    ids = {budget.id for budget in met}
    runaway = policy.runaway
    return ScopeExplained(
        labels=dict(labels),
        budgets=tuple(
            BudgetMet(explain_budget(budget, policy.currency, at_ms), tuple(_keys(budget, labels, at_ms)))
            for budget in met
        ),
        not_met={budget.id: _why_not(budget, labels) for budget in policy.budgets if budget.id not in ids},
        constraints=_constraints(met, policy.currency),
        observed=tuple(
            ConstraintObserved(format_amount(meter, limit, policy.currency), budget.id, budget.enforcement)
            for budget in observed_constraints(met)
            for meter, limit in budget.ceilings
        ),
        routes=tuple(
            explain_route(route) for route in policy.routing if rules_hold(rules_of(route.match), labels)
        ),
        runaway=explain_runaway(runaway)
        if runaway is not None and rules_hold(rules_of(runaway.match), labels)
        else "",
    )


def _keys(budget: Budget, labels: Mapping[str, str], at_ms: int) -> Iterator[str]:
    counters = account(budget, labels, at_ms)
    if counters.limits or budget.wall_clock_ms is not None:
        yield counters.key
    slots = slot_account(budget, labels, "concurrent_runs") or slot_account(
        budget, labels, "concurrent_calls"
    )
    if slots is not None:
        yield slots.key  # both kinds stand in one account


def _why_not(budget: Budget, labels: Mapping[str, str]) -> str:
    for label, patterns in budget.rules:
        value = labels.get(label)
        if patterns is None and value is not None:
            return f"only where {label} is absent"
        if patterns is not None and value is None:
            return f"only where {label} is {format_pattern(patterns)}"
        if patterns and value is not None and not any(matches(pattern, value) for pattern in patterns):
            return f"only where {label} is {format_pattern(patterns)}, not {value}"
    return ""


def _constraints(budgets: Iterable[Budget], currency: str) -> dict[str, ConstraintMet]:
    found = {}
    hard = [budget for budget in budgets if budget.enforcement == "hard"]  # the others only tell
    for field, candidates in constraint_candidates(hard).items():
        (value, owner), *others = candidates
        found[field] = ConstraintMet(
            format_amount(field, value, currency),
            owner,
            {budget: format_amount(field, other, currency) for other, budget in others if other != value},
        )
    return found


class PolicyExplained(msgspec.Struct, frozen=True):
    """A whole policy in words, in the order of the file."""

    budgets: tuple[BudgetExplained, ...]
    unscoped: Unscoped
    currency: str
    routes: tuple[RouteExplained, ...] = ()
    runaway: str = ""
    """What runs are watched for; empty if they are not."""
    webhooks: dict[str, str] = {}


def explain(policy: Policy, at_ms: int) -> PolicyExplained:
    """Put a policy into words.

    Args:
        policy: one from `load_policy`.
        at_ms: the instant whose windows are shown, in ms since the epoch.
    """
    return PolicyExplained(
        budgets=tuple(explain_budget(budget, policy.currency, at_ms) for budget in policy.budgets),
        unscoped=policy.unscoped,
        currency=policy.currency,
        routes=tuple(map(explain_route, policy.routing)),
        runaway=explain_runaway(policy.runaway) if policy.runaway is not None else "",
        webhooks={name: explain_webhook(webhook) for name, webhook in policy.webhooks.items()},
    )
