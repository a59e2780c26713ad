"""All warnings about a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.policy.document import Steps
from costscope.policy.lint.actions import action_warnings
from costscope.policy.lint.binding import binding_warnings
from costscope.policy.lint.labels import label_warnings
from costscope.policy.lint.prices import price_warnings, prices_can_be_compared, speaks_of_models
from costscope.policy.lint.routes import route_warnings
from costscope.policy.lint.runs import run_warnings

if TYPE_CHECKING:
    from costscope.policy.schema import Policy

__all__ = ["Lint", "lint_policy"]

_NO_TABLE = "prices were not compared with the public ones; pip install 'costscope[prices]' for that"


class Lint(msgspec.Struct, frozen=True):
    """What is suspicious in a policy."""

    warnings: tuple[tuple[Steps, str], ...]
    """Where, and what, in the order of the file as far as there is one."""
    notes: tuple[str, ...] = ()
    """What could not be looked at."""


def lint_policy(policy: Policy) -> Lint:
    """The warnings about a policy from `load_policy`. May load the price table (0.8 s)."""
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
    found.sort(key=lambda warning: (fields.index(str(warning[0][0])), *_number(warning[0])))
    return Lint(tuple(found), notes)


def _number(steps: Steps) -> tuple[int, ...]:
    """The index of an item in its list; the rest keeps the order in which it was found."""
    return (steps[1],) if len(steps) > 1 and isinstance(steps[1], int) else (0,)
