"""All checks of a policy, in its order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from costscope.policy.checks.budget_checks import budget_problems
from costscope.policy.checks.route_checks import route_problems, runaway_problems
from costscope.policy.checks.threshold_checks import webhook_problems
from costscope.policy.checks.value_checks import id_problems
from costscope.policy.load.document import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costscope.policy.load.document import Steps
    from costscope.policy.model.schema import Policy

    Problem = tuple[Steps, str]

__all__ = ["problems"]

_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)


def problems(policy: Policy) -> Iterator[Problem]:
    """Every reason why the policy cannot be used: where, and what."""
    webhooks = tuple(policy.webhooks)
    ids = [budget.id for budget in policy.budgets]
    for index, budget in enumerate(policy.budgets):
        yield from _at(("budgets", index), id_problems(budget.id, ids[:index], "budgets"))
        yield from _at(("budgets", index), budget_problems(budget, webhooks))
    ids = [route.id for route in policy.routing]
    for index, route in enumerate(policy.routing):
        yield from _at(("routing", index), id_problems(route.id, ids[:index], "routing"))
        yield from _at(("routing", index), route_problems(route))
    if policy.runaway is not None:
        yield from _at(("runaway",), runaway_problems(policy.runaway, webhooks))
    for name, webhook in policy.webhooks.items():
        yield from _at(("webhooks", name), webhook_problems(name, webhook))
    if not _CURRENCY.fullmatch(policy.currency):
        yield ("currency",), f"{cut(policy.currency)} is no currency code; use three capitals such as USD"


def _at(place: Steps, problems: Iterable[Problem]) -> Iterator[Problem]:
    for steps, problem in problems:
        yield (*place, *steps), problem
