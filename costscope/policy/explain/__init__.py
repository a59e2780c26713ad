"""A policy in words, for `costscope check`: all of it, or what it says about one scope."""

from costscope.policy.explain.budget_text import (
    BudgetExplained,
    RouteExplained,
    StageExplained,
    ThresholdExplained,
)
from costscope.policy.explain.scope_text import (
    BudgetMet,
    ConstraintMet,
    ConstraintObserved,
    PolicyExplained,
    ScopeExplained,
    explain,
    explain_scope,
)

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
