"""The callbacks of a scope: functions of the user's that are told what happens in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from costscope.errors import InvalidInput
from costscope.observe.events.records import (
    CallRefused,
    CallSettled,
    Downgraded,
    Kind,
    RunawayDetected,
    ThresholdCrossed,
)

E = TypeVar("E")

Callback = Callable[[E], object]
"""A plain function, or one that returns an awaitable (`async def`). What it returns otherwise is ignored."""

Given = Callback[E] | tuple[Callback[E], ...] | None

_ARGUMENTS: Final[dict[str, str]] = {
    "threshold": "on_threshold",
    "denied": "on_denied",
    "downgrade": "on_downgrade",
    "runaway": "on_runaway",
    "settled": "on_settled",
}


class Callbacks(msgspec.Struct, frozen=True, kw_only=True):
    """What a scope was given to call: for each kind nothing, one function, or several.

    Raises:
        InvalidInput: something given cannot be called.
    """

    on_threshold: Given[ThresholdCrossed] = None
    on_denied: Given[CallRefused] = None
    """Also told what a shadow budget would have refused: `enforced` is false then."""
    on_downgrade: Given[Downgraded] = None
    on_runaway: Given[RunawayDetected] = None
    on_settled: Given[CallSettled] = None

    def __post_init__(self) -> None:
        for argument in _ARGUMENTS.values():
            for one in _several(getattr(self, argument)):
                check_callback(one, argument)

    def of(self, kind: Kind) -> tuple[Callback[object], ...]:
        """Return the callbacks for a kind of record, in the order in which they are called."""
        argument = _ARGUMENTS.get(kind)
        return _several(getattr(self, argument)) if argument is not None else ()

    def within(self, outer: Callbacks | None) -> Callbacks:
        """Join these with those of the scope around, which come behind them."""
        if outer is None:
            return self
        both = {
            argument: _several(getattr(self, argument)) + _several(getattr(outer, argument)) or None
            for argument in _ARGUMENTS.values()
        }
        return Callbacks(**both)


def check_callback(given: object, what: str) -> None:
    """Refuse what cannot be a callback.

    Raises:
        InvalidInput: it cannot be called.
    """
    if not callable(given):
        msg = f"{what}: {given!r} cannot be called; give a function that takes one record"
        raise InvalidInput(msg)


def _several(given: Given[object]) -> tuple[Callback[object], ...]:
    if given is None:
        return ()
    return given if isinstance(given, tuple) else (given,)
