"""A policy in words, for `costscope check`: all of it, or what it says about one scope."""

from costscope.policy.explained.budgets import BudgetExplained, ThresholdExplained
from costscope.policy.explained.rest import RouteExplained, StageExplained
from costscope.policy.explained.scope import (
    BudgetMet,
    ConstraintMet,
    ConstraintObserved,
    ScopeExplained,
    explain_scope,
)
from costscope.policy.explained.whole import PolicyExplained, explain

__all__ = [
    "BudgetExplained",
    "BudgetMet",
    "ConstraintMet",
    "ConstraintObserved",
    "PolicyExplained",
    "RouteExplained",
    "ScopeExplained",
    "StageExplained",
    "ThresholdExplained",
    "explain",
    "explain_scope",
]
