"""Budgets as rules: the policy file, what it covers, and the accounts that follow from it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from costscope.policy.about import AccountAbout, read_about
from costscope.policy.accounts import (
    INLINE_BUDGET,
    RUN_BUDGET,
    account,
    inline_account,
    run_account,
    slot_account,
)
from costscope.policy.covering import covering, covers, rules_hold
from costscope.policy.labels import check_labels, encode
from costscope.policy.marks import Mark, level_of, marks_of, refuses, watch_levels
from costscope.policy.periods import Period, Weekday, load_zone, window
from costscope.policy.schema import Budget, Policy, rules_of

if TYPE_CHECKING:
    from costscope.policy.explained import (
        BudgetExplained,
        PolicyExplained,
        ScopeExplained,
        explain,
        explain_scope,
    )
    from costscope.policy.loader import PolicySource, load_policy, parse_policy

__all__ = [
    "INLINE_BUDGET",
    "RUN_BUDGET",
    "AccountAbout",
    "Budget",
    "BudgetExplained",
    "Mark",
    "Period",
    "Policy",
    "PolicyExplained",
    "PolicySource",
    "ScopeExplained",
    "Weekday",
    "account",
    "check_labels",
    "covering",
    "covers",
    "encode",
    "explain",
    "explain_scope",
    "inline_account",
    "level_of",
    "load_policy",
    "load_zone",
    "marks_of",
    "parse_policy",
    "read_about",
    "refuses",
    "rules_hold",
    "rules_of",
    "run_account",
    "slot_account",
    "watch_levels",
    "window",
]

_ON_DEMAND: Final = {
    "BudgetExplained": "explained",
    "PolicyExplained": "explained",
    "PolicySource": "loader",
    "ScopeExplained": "explained",
    "explain": "explained",
    "explain_scope": "explained",
    "load_policy": "loader",
    "parse_policy": "loader",
}
"""Names whose modules read files: a process that only has inline limits never imports them."""


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found = getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
    globals()[name] = found
    return found
