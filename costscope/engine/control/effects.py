"""What is in force over a call, from the levels that its budgets have passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.policy.model.controls import Action
from costscope.policy.resolve.resolved import Watched

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NOTHING", "Effects", "effects_of", "lowered"]


class Effects(msgspec.Struct, frozen=True):
    """The actions in force together; of several that say how much, the strictest holds."""

    downgrade: bool = False
    model: str | None = None
    """To this model instead of the next fallback."""
    max_tokens: tuple[int | float, ...] = ()
    """Amounts and factors, all to be applied."""
    iterations: tuple[int | float, ...] = ()
    throttled: tuple[Watched, ...] = ()
    """Budgets whose rest is to last until their reset."""
    brake: Action | None = None
    """The `throttle` of a runaway: its calls are to be paced so in every budget over them."""
    halt_run: Watched | None = None
    halt_new_runs: Watched | None = None
    over: tuple[Watched, ...] = ()
    """Budgets that let calls through above their limit."""

    def with_those_of(self, other: Effects) -> Effects:
        """These and others together; a model that these name goes first."""
        return msgspec.structs.replace(
            self,
            downgrade=self.downgrade or other.downgrade,
            model=self.model or other.model,
            max_tokens=self.max_tokens + other.max_tokens,
            iterations=self.iterations + other.iterations,
            brake=self.brake or other.brake,
        )


NOTHING = Effects()


def effects_of(passed: Iterable[Watched]) -> Effects:
    """The effects of all levels that are passed."""
    found: dict[str, list[tuple[Watched, Action | None]]] = {}
    for watched in passed:
        threshold = watched.level.threshold
        if threshold is None:
            found.setdefault("over", []).append((watched, None))
        elif watched.budget.enforcement != "shadow":
            for action in threshold.actions:
                found.setdefault(action.do, []).append((watched, action))
    downgrades = [action for _, action in found.get("downgrade_model", ()) if action is not None]
    limited = [action for _, action in found.get("limit_capabilities", ()) if action is not None]
    effects = Effects(
        downgrade=bool(downgrades),
        model=next((action.model for action in downgrades if action.model), None),
        max_tokens=tuple(action.max_tokens for action in limited if action.max_tokens is not None),
        iterations=tuple(action.iterations for action in limited if action.iterations is not None),
        throttled=tuple(watched for watched, _ in found.get("throttle", ())),
        halt_run=next((watched for watched, _ in found.get("halt_run", ())), None),
        halt_new_runs=next((watched for watched, _ in found.get("halt_new_runs", ())), None),
        over=tuple(watched for watched, _ in found.get("over", ())),
    )
    return NOTHING if effects == NOTHING else effects


def lowered(value: int | None, caps: Iterable[int | float]) -> int | None:
    """A cap after amounts (whole numbers) and factors (decimals) have been applied; never below 1.

    A factor of something without a cap changes nothing.
    """
    factor, amounts = 1.0, []
    for cap in caps:
        if isinstance(cap, float):
            factor = min(factor, cap)
        else:
            amounts.append(cap)
    if value is not None:
        amounts.append(int(value * factor))
    return max(min(amounts), 1) if amounts else None
