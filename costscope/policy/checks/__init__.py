"""What a policy of the right shape can still get wrong: budgets that no scope can reach, actions that do nothing.

Every function here yields problems, relative to the part it looks at: where, and what is wrong with the remedy.
"""

from costscope.policy.checks.policy_checks import check_policy
from costscope.policy.checks.value_checks import MAX_PER

__all__ = ["MAX_PER", "check_policy"]
