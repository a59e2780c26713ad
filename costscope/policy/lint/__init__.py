"""What a policy that can be used is probably not meant to say: warnings, each at its place."""

from costscope.policy.lint.policy_lint import Lint, lint_policy

__all__ = ["Lint", "lint_policy"]
