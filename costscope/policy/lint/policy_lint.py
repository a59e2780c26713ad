"""All warnings about a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.policy.lint.action_lint import action_warnings, route_warnings, run_warnings
from costscope.policy.lint.limit_lint import binding_warnings, label_warnings
from costscope.policy.lint.price_lint import price_warnings, prices_can_be_compared, speaks_of_models
from costscope.policy.load.document import Problem

if TYPE_CHECKING:
    from costscope.policy.model.schema import Policy

_NO_TABLE = "prices were not compared with the public ones; pip install 'costscope[prices]' for that"


class Lint(msgspec.Struct, frozen=True):
    """What is suspicious in a policy."""

    warnings: tuple[Problem, ...]
    """Where, and what, in the order of the file as far as there is one."""
    notes: tuple[str, ...] = ()
    """What could not be looked at."""


def lint_policy(policy: Policy) -> Lint:
    """Collect the warnings about a policy from `load_policy`. May load the price table (0.8 s)."""
    found = [
        *label_warnings(policy),
        *binding_warnings(policy),
        *action_warnings(policy),
        *run_warnings(policy),
        *route_warnings(policy),
    ]
    notes: tuple[str, ...] = ()
    if speaks_of_models(policy):
        if prices_can_be_compared():
            found += price_warnings(policy)
        else:
            notes = (_NO_TABLE,)
    fields = policy.__struct_fields__

    def place(warning: Problem) -> tuple[int, int]:
        # The number of an item in its list; the rest keeps the order in which it was found.
        field, index, *_ = (*warning[0], 0)
        return fields.index(str(field)), index if isinstance(index, int) else 0

    return Lint(tuple(sorted(found, key=place)), notes)
