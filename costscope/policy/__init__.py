"""Budgets as rules: the policy file, what it covers, and the accounts that follow from it."""

from costscope.policy.accounts import (
    INLINE_BUDGET,
    AccountAbout,
    account,
    covering,
    covers,
    inline_account,
    read_about,
)
from costscope.policy.explain import BudgetExplained, PolicyExplained, explain
from costscope.policy.labels import check_labels, encode
from costscope.policy.loader import PolicySource, load_policy, parse_policy
from costscope.policy.periods import Period, Weekday, load_zone, window
from costscope.policy.schema import Budget, Policy

__all__ = [
    "INLINE_BUDGET",
    "AccountAbout",
    "Budget",
    "BudgetExplained",
    "Period",
    "Policy",
    "PolicyExplained",
    "PolicySource",
    "Weekday",
    "account",
    "check_labels",
    "covering",
    "covers",
    "encode",
    "explain",
    "inline_account",
    "load_policy",
    "load_zone",
    "parse_policy",
    "read_about",
    "window",
]
