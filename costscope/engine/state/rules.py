"""A policy made ready for use: looked up by every call, exchanged as a whole when the policy is reloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.control.router import Router
from costscope.policy import rules_hold, rules_of
from costscope.policy.resolve.accounts import SLOTS_SUFFIX
from costscope.policy.resolve.resolved import BudgetResolver
from costscope.pricing.prices.book import PriceBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.control.call_stats import Health
    from costscope.policy import Budget, Policy
    from costscope.policy.model.controls import Runaway


class Rules:
    """What a policy says, by the question that is asked."""

    def __init__(self, policy: Policy, health: Health) -> None:
        self.policy = policy
        self.prices = PriceBook(policy.prices, currency=policy.currency)
        self.resolver = BudgetResolver(policy)
        self.acts = bool(self.resolver.acts or policy.routing)
        self.router = Router(policy, health)
        self._budgets = {budget.id: budget for budget in policy.budgets}
        self.runaway = policy.runaway
        self._watched = rules_of(policy.runaway.match) if policy.runaway is not None else ()

    def budget(self, budget_id: str) -> Budget | None:
        """The budget of that id, or of that id's slots; None for a scope's own limit."""
        return self._budgets.get(budget_id.removesuffix(SLOTS_SUFFIX))

    def runaway_for(self, labels: Mapping[str, str]) -> Runaway | None:
        """What a run with these labels is watched for; None where it is not."""
        return self.runaway if self.runaway is not None and rules_hold(self._watched, labels) else None
