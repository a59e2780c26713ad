"""The detection of runaways: numbers that would fire on everything, or on nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from costscope.policy.checks.actions import actions_problems
from costscope.policy.checks.matching import match_problems
from costscope.policy.document import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costscope.policy.controls import Runaway
    from costscope.policy.document import Steps

__all__ = ["runaway_problems"]

_COUNT_MOST = 1_000_000


def runaway_problems(runaway: Runaway, webhooks: Sequence[str]) -> Iterator[tuple[Steps, str]]:
    """What is wrong with `runaway`."""
    yield from match_problems(runaway.match)
    for field, least, what in (
        ("failures", 1, "calls that fail one after the other, such as 3"),
        ("repeats", 2, "how often the same call may be made, such as 10"),
    ):
        value = getattr(runaway, field)
        if value != 0 and not least <= value <= _COUNT_MOST:
            yield (field,), f"{cut(value)} is out of range; give {what}, or 0 to switch this off"
    rate = runaway.burn_rate
    if rate != 0 and not (math.isfinite(rate) and rate > 1):
        yield (
            ("burn_rate",),
            (
                f"{cut(rate)} is out of range; give a multiple of the run's own rate above 1, such as 2, "
                "or 0 to switch this off"
            ),
        )
    if not (runaway.failures or rate or runaway.repeats):
        yield (), "every detector is switched off; write `runaway: false`"
    yield from actions_problems(runaway.actions, webhooks)
