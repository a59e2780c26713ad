"""Interleaved rounds, and what their times come to.

Absolute times on a shared machine say little: they move by a factor of two within a minute, with the clock of
the processor and with what else is running. So nothing here is ever compared with a number from another run.
The contenders take turns in small blocks, and every round gives one value per contender; a figure is the MEDIAN
of the ratios (or differences) within the rounds. Beside it stands what comes out of the LEAST times, each
contender's own: what the machine can do when it is left alone. The order of the contenders turns from round to
round, so that none always runs on the cache that another one left. The garbage collector stays on, since it is
on in every program that uses the library.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass
from itertools import repeat
from statistics import median
from time import perf_counter_ns
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    Block = Callable[[int], object]
    """Performs an operation so many times."""
    AsyncBlock = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: a full run, or a quick one that only exercises every row."""

    quick: bool

    def times(self, full: int, quick: int) -> int:
        """The number to use of two."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Pairs:
    """A floor and a contender, measured in the same rounds: us per operation."""

    floor: Sequence[float]
    ours: Sequence[float]

    def __post_init__(self) -> None:
        if not self.floor or len(self.floor) != len(self.ours):
            msg = f"{len(self.floor)} floors and {len(self.ours)} measurements: there must be as many of each, at least one"
            raise ValueError(msg)

    def ratio(self) -> tuple[float, float]:
        """Our time over the floor's: the median of the rounds, and of the least times."""
        return median(ours / floor for floor, ours in self._rounds()), min(self.ours) / min(self.floor)

    def extra(self) -> tuple[float, float]:
        """Our time less the floor's, in us: the median of the rounds, and of the least times."""
        return median(ours - floor for floor, ours in self._rounds()), min(self.ours) - min(self.floor)

    def rate(self) -> tuple[float, float]:
        """Our rate over the floor's rate: the median of the rounds, and of the least times."""
        return median(floor / ours for floor, ours in self._rounds()), min(self.floor) / min(self.ours)

    def _rounds(self) -> zip[tuple[float, float]]:
        return zip(self.floor, self.ours, strict=True)


@dataclass(frozen=True, slots=True)
class Rounds:
    """What every contender took in every round, in us per operation."""

    times: Mapping[str, Sequence[float]]

    def pairs(self, floor: str, ours: str) -> Pairs:
        """Two of the contenders, round by round."""
        return Pairs(self.times[floor], self.times[ours])


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to reach."""

    sense: Literal["at most", "below", "at least"]
    bound: float

    def met(self, figure: float) -> bool:
        """Is this figure good enough?"""
        if self.sense == "at least":
            return figure >= self.bound
        return figure < self.bound if self.sense == "below" else figure <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: what was measured, beside its floor, and what it had to reach."""

    name: str
    figure: float
    """The figure the target is about: a ratio, a difference, or a plain number."""
    unit: str
    """Of `figure`: `x` is a ratio to the floor."""
    of_least: float | None = None
    """The figure as the least times have it."""
    ours: float | None = None
    floor: float | None = None
    measured_in: str = "us"
    """Unit of `ours` and `floor`, which are medians of their own."""
    floor_name: str = ""
    target: Target | None = None

    @property
    def met(self) -> bool | None:
        """Was the target reached? None for a row that is only for information."""
        return None if self.target is None else self.target.met(self.figure)

    @classmethod
    def of_ratio(cls, name: str, pairs: Pairs, floor_name: str, target: Target | None = None) -> Figure:
        """How many times as long as the floor it takes."""
        (figure, of_least), ours, floor = pairs.ratio(), median(pairs.ours), median(pairs.floor)
        return cls(name, figure, "x", of_least, ours, floor, "us", floor_name, target)

    @classmethod
    def of_extra(cls, name: str, pairs: Pairs, floor_name: str, target: Target | None = None) -> Figure:
        """How many us longer than the floor it takes."""
        (figure, of_least), ours, floor = pairs.extra(), median(pairs.ours), median(pairs.floor)
        return cls(name, figure, "us more", of_least, ours, floor, "us", floor_name, target)

    @classmethod
    def of_rate(cls, name: str, pairs: Pairs, floor_name: str, target: Target | None = None) -> Figure:
        """How many times the floor's rate it reaches; `ours` and `floor` are rates a second."""
        (figure, of_least), ours, floor = pairs.rate(), median(pairs.ours), median(pairs.floor)
        return cls(name, figure, "x", of_least, 1e6 / ours, 1e6 / floor, "/s", floor_name, target)


def repeat_operation(operation: Callable[[], object]) -> Block:
    """A block that calls a function of no arguments again and again."""

    def block(times: int) -> None:
        for _ in repeat(None, times):
            operation()

    return block


def rounds(blocks: Mapping[str, Block], *, count: int, size: int) -> Rounds:
    """Measure contenders in turns.

    Args:
        blocks: name to block; each runs once before the first round, to warm up.
        count: rounds.
        size: operations in a block.
    """
    for block in blocks.values():
        block(size)
    times: dict[str, list[float]] = {name: [] for name in blocks}
    gc.collect()
    for number in range(count):
        for name in rotate_names(list(blocks), number):
            block, begun = blocks[name], perf_counter_ns()
            block(size)
            times[name].append((perf_counter_ns() - begun) / size / 1000)
    return Rounds(times)


async def arounds(blocks: Mapping[str, AsyncBlock], *, count: int, size: int) -> Rounds:
    """`rounds` on an event loop."""
    for block in blocks.values():
        await block(size)
    times: dict[str, list[float]] = {name: [] for name in blocks}
    gc.collect()
    for number in range(count):
        for name in rotate_names(list(blocks), number):
            block, begun = blocks[name], perf_counter_ns()
            await block(size)
            times[name].append((perf_counter_ns() - begun) / size / 1000)
    return Rounds(times)


def rotate_names(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: each begins with another name."""
    at = number % len(names)
    return [*names[at:], *names[:at]]
