"""Labels that look misspelt: a budget that asks for one is never met."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from costscope.policy.specificity import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costscope.policy.controls import Pattern
    from costscope.policy.document import Steps
    from costscope.policy.schema import Policy

__all__ = ["label_warnings"]

_USUAL: Final = (*LEVELS, "stage")
_NEAR: Final = 0.8
"""`tenant_id` is that near to `tenant`, and `region` to nothing."""


def label_warnings(policy: Policy) -> Iterator[tuple[Steps, str]]:
    """Each label of a `match` or `per` that is nearly one of the usual ones."""
    for index, budget in enumerate(policy.budgets):
        split = [(("per", at), label) for at, label in enumerate(budget.per) if label not in budget.match]
        yield from _misspelt([*_of_match(budget.match), *split], ("budgets", index))
    for index, route in enumerate(policy.routing):
        yield from _misspelt(_of_match(route.match), ("routing", index))
    if policy.runaway is not None:
        yield from _misspelt(_of_match(policy.runaway.match), ("runaway",))


def _of_match(match: Mapping[str, Pattern]) -> list[tuple[Steps, str]]:
    return [(("match", label), label) for label in match]


def _misspelt(labels: list[tuple[Steps, str]], within: Steps) -> Iterator[tuple[Steps, str]]:
    together = {label for _, label in labels}
    for steps, label in labels:
        near = difflib.get_close_matches(label, _USUAL, n=1, cutoff=_NEAR)
        if near and together.isdisjoint(near):
            yield (
                (*within, *steps),
                f"{label} is no usual label, did you mean {near[0]}? Scopes without it miss this",
            )
