"""Budgets as rules: the policy file, what it covers, and the accounts that follow from it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from costscope.policy.model.labels import check_labels, encode
from costscope.policy.model.patterns import rules_hold, rules_of
from costscope.policy.model.periods import Period, Weekday, load_zone, window
from costscope.policy.model.schema import Budget, Policy
from costscope.policy.resolve.accounts import (
    INLINE_BUDGET,
    RUN_BUDGET,
    AccountInfo,
    account,
    inline_account,
    read_account_info,
    run_account,
    slot_account,
)
from costscope.policy.resolve.levels import Level, amount_at, levels_of, refuses, watch_levels
from costscope.policy.resolve.resolved import resolve_budgets

if TYPE_CHECKING:
    from costscope.policy.explain.budget_text import BudgetExplained
    from costscope.policy.explain.scope_text import PolicyExplained, ScopeExplained, explain_scope
    from costscope.policy.load.loader import PolicySource, load_policy, parse_policy

__all__ = [
    "INLINE_BUDGET",
    "RUN_BUDGET",
    "AccountInfo",
    "Budget",
    "BudgetExplained",
    "Level",
    "Period",
    "Policy",
    "PolicyExplained",
    "PolicySource",
    "ScopeExplained",
    "Weekday",
    "account",
    "amount_at",
    "check_labels",
    "encode",
    "explain_scope",
    "inline_account",
    "levels_of",
    "load_policy",
    "load_zone",
    "parse_policy",
    "read_account_info",
    "refuses",
    "resolve_budgets",
    "rules_hold",
    "rules_of",
    "run_account",
    "slot_account",
    "watch_levels",
    "window",
]

_ON_DEMAND: Final = {
    "BudgetExplained": "explain.budget_text",
    "PolicyExplained": "explain.scope_text",
    "PolicySource": "load.loader",
    "ScopeExplained": "explain.scope_text",
    "explain_scope": "explain.scope_text",
    "load_policy": "load.loader",
    "parse_policy": "load.loader",
}
"""Names whose modules read files: a process that only has inline limits never imports them.

`explain` is not among them: here that name is the package that has it.
"""


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found = getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
    globals()[name] = found
    return found
