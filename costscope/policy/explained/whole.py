"""A whole policy in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.policy.explained.budgets import BudgetExplained, explain_budget
from costscope.policy.explained.rest import RouteExplained, explain_route, explain_runaway, explain_webhook
from costscope.policy.schema import Unscoped

if TYPE_CHECKING:
    from costscope.policy.schema import Policy

__all__ = ["PolicyExplained", "explain"]


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
    """The policy in words.

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
