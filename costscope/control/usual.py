"""What the calls of a name usually use, for pacing: what a strict hold reserves is many times that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from costscope.usage import Usage

__all__ = ["Usual"]

_WEIGHT: Final = 8
"""A new call moves the average by an eighth of its difference."""

_NAMES_MAX: Final = 1024


class Usual:
    """A moving average per name and meter. Lost updates between threads only make it slower."""

    def __init__(self) -> None:
        self._averages: dict[tuple[str, str], int] = {}

    def saw(self, name: str, cost: int, usage: Usage | None) -> None:
        """A call of this name has ended."""
        self._move((name, "cost"), cost)
        if usage is not None:
            self._move((name, "tokens"), usage.tokens)
            self._move((name, "input_tokens"), usage.input_tokens)
            self._move((name, "output_tokens"), usage.output_tokens)

    def of(self, name: str, meter: str) -> int:
        """What such a call uses of a meter, rounded up; 0 while nothing is known."""
        return self._averages.get((name, meter), 0)

    def _move(self, what: tuple[str, str], amount: int) -> None:
        if len(self._averages) >= _NAMES_MAX:
            self._averages.clear()
        average = self._averages.get(what)
        self._averages[what] = amount if average is None else average - (average - amount) // _WEIGHT
