"""Warnings about a policy given as text."""

import pytest

from costscope.policy.lint.policy_lint import lint_policy
from costscope.policy.load.document import show
from costscope.policy.load.loader import parse_policy


@pytest.fixture
def warnings_of():
    """`{place: problem}` of a policy."""

    def warn(text):
        return {show(steps): problem for steps, problem in lint_policy(parse_policy(text)).warnings}

    return warn


@pytest.fixture
def of_budgets(warnings_of):
    """The same of a policy of budgets, each given as the fields of one."""

    def warn(*budgets):
        lines = [f"  - {{id: {chr(97 + index)}, {fields}}}\n" for index, fields in enumerate(budgets)]
        return warnings_of("budgets:\n" + "".join(lines))

    return warn
