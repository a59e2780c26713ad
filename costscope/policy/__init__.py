"""Budgets as rules: the policy file, what it covers, and the accounts that follow from it.

What reads files, and what explains them, is imported from its own module: a process that only has inline limits never
needs either.
"""

from costscope.policy.model.labels import check_labels, encode
from costscope.policy.model.patterns import rules_hold, rules_of
from costscope.policy.model.schema import Budget, Policy
from costscope.policy.resolve.accounts import (
    INLINE_BUDGET,
    RUN_BUDGET,
    AccountInfo,
    inline_account,
    read_account_info,
    run_account,
)
from costscope.policy.resolve.levels import levels_of, refuses

__all__ = [
    "INLINE_BUDGET",
    "RUN_BUDGET",
    "AccountInfo",
    "Budget",
    "Policy",
    "check_labels",
    "encode",
    "inline_account",
    "levels_of",
    "read_account_info",
    "refuses",
    "rules_hold",
    "rules_of",
    "run_account",
]
