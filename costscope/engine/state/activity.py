"""What has happened in a scope and in those nested in it, by this process: for `summary`."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from costscope.observe.telemetry.totals import Sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_FOLD_AT: Final = 32
_VALUES_MAX: Final = 1024
"""Values of one label that are kept apart; the cost of all others is summed under `OTHER`."""

OTHER: Final = "..."


@dataclass(slots=True)
class Activity:
    """A part of it, owned by one thread at a time."""

    sums: Sums = field(default_factory=Sums)
    by_label: dict[str, dict[str, int]] = field(default_factory=dict)
    """Label to value to cost in nano-units, of the calls whose innermost scope had them."""
    downgrades: int = 0
    saved_nano: int = 0

    def merge(self, more: Activity) -> None:
        """Add another part."""
        self.sums.merge(more.sums)
        self.downgrades += more.downgrades
        self.saved_nano += more.saved_nano
        for label, values in more.by_label.items():
            mine = self.by_label.setdefault(label, {})
            for value, cost in values.items():
                kept = value if value in mine or len(mine) < _VALUES_MAX else OTHER
                mine[kept] = mine.get(kept, 0) + cost


class ActivityLog(deque[Activity]):
    """Parts that any thread adds, and a finalizer too, so it takes no lock: each part is popped by exactly one.

    What was added is never changed, so that the scopes around may have it as well.
    """

    def add(self, part: Activity) -> None:
        """Take a part of what has happened. It is handed over."""
        self.append(part)
        if len(self) >= _FOLD_AT:
            self.append(self._fold())

    def all(self) -> Activity:
        """Everything so far, to be read only."""
        folded = self._fold()
        self.append(folded)
        return folded

    def _fold(self) -> Activity:
        found = Activity()
        if len(self) == 1:
            with suppress(IndexError):  # another thread has it
                return self.popleft()
        for _ in range(len(self)):
            try:
                found.merge(self.popleft())
            except IndexError:  # another thread folds as well
                break
        return found


def activity_of(sums: Sums, labels: Mapping[str, str]) -> Activity:
    """Return the calls of one scope as a part; those of nested scopes are not among them."""
    cost = sum(row.cost_nano for row in sums.calls.values())
    return Activity(sums, {label: {value: cost} for label, value in labels.items()} if cost else {})


def join_activity(parts: Iterable[Activity]) -> Activity:
    """Return all of these as one."""
    found = Activity()
    for part in parts:
        found.merge(part)
    return found
