"""Who waits in this process for a refusal to end, so that a settlement here can wake the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from costscope.stores.steps import Wake

__all__ = ["Waiting"]

_WOKEN: Final = 4
"""By one settlement: what it frees seldom serves more, and the others ask again by themselves."""


class Waiting:
    """The pauses of one runtime's callers, the longest waiting first. Single dict operations, so it takes no lock."""

    def __init__(self) -> None:
        self._wakes: dict[Wake, None] = {}

    def __bool__(self) -> bool:
        return bool(self._wakes)

    def add(self, wake: Wake) -> None:
        """Somebody waits."""
        self._wakes[wake] = None

    def discard(self, wake: Wake) -> None:
        """Nobody waits here any more."""
        self._wakes.pop(wake, None)

    def nudge(self) -> None:
        """Something was given back: let the first ones try."""
        for wake in list(self._wakes)[:_WOKEN]:
            wake()
