"""What is in force over a call, from the levels that its budgets have passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from costscope.policy.model.actions import Action
from costscope.policy.resolve.resolved import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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

    def with_those_of(self, other: Effects) -> Effects:
        """Return these and others together; what these name goes first where there can be one only."""
        return Effects(
            downgrade=self.downgrade or other.downgrade,
            model=self.model or other.model,
            max_tokens=self.max_tokens + other.max_tokens,
            iterations=self.iterations + other.iterations,
            throttled=self.throttled + other.throttled,
            brake=self.brake or other.brake,
            halt_run=self.halt_run or other.halt_run,
        )

    def holds_up(self, *, in_run: bool, paced: bool) -> bool:
        """Tell whether they may refuse a call or make it wait that is made in a run, or has had its turn already."""
        return (self.halt_run is not None and in_run) or (bool(self.throttled) and not paced)


NOTHING = Effects()

_EFFECTS: Final[dict[str, Callable[[Action, Watched | None], Effects]]] = {
    "downgrade_model": lambda action, _: Effects(downgrade=True, model=action.model),
    "limit_capabilities": lambda action, _: Effects(
        max_tokens=_given(action.max_tokens), iterations=_given(action.iterations)
    ),
    "throttle": lambda action, by: Effects(brake=action) if by is None else Effects(throttled=(by,)),
    "halt_run": lambda _, by: Effects(halt_run=by),
}
"""What each action puts in force: `(action, the level that is passed)`, or None for a runaway. Others change no call."""


def effects_of(passed: Iterable[Watched]) -> Effects:
    """Return the effects of all levels that are passed."""
    found = NOTHING
    for watched in passed:
        threshold = watched.level.threshold
        if threshold is not None and watched.budget.enforcement != "shadow":
            found = found.with_those_of(effects_of_actions(threshold.actions, watched))
    return NOTHING if found == NOTHING else found


def effects_of_actions(actions: Iterable[Action], by: Watched | None = None) -> Effects:
    """Return what actions put in force, by a level; by none those of a runaway, whose orders to stop are given apart."""
    found = NOTHING
    for action in actions:
        if action.do in _EFFECTS:
            found = found.with_those_of(_EFFECTS[action.do](action, by))
    return found


def _given(cap: float | None) -> tuple[int | float, ...]:
    return () if cap is None else (cap,)


def apply_caps(value: int | None, caps: Iterable[int | float]) -> int | None:
    """Lower a cap by amounts (whole numbers) and factors (decimals); never below 1.

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
