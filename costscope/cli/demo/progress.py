"""What is known about a demo while it runs; the screen draws it, the runner fills it in."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from costscope.cli.demo.heard import Heard
from costscope.cli.demo.ledger import Books

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.cli.demo.heard import Crossing
    from costscope.cli.demo.scenario import Path, Scenario
    from costscope.cli.demo.worker import Report

__all__ = ["Progress"]


class Progress:
    """Counts and events of one demo.

    Attributes:
        books: what the ledger said last.
        heard: what the stream of events has told.
        told: how often a callback of a worker was told of each threshold.
        billed: the provider's bill, in nano-USD by path; it grows in place.
        denials: refusals by kind.
        pairs_us: microseconds of each reserve+commit pair so far.
        alive: workers that run.
        events: what happened, in order: `(seconds since the start, text)`.
    """

    def __init__(self, scenario: Scenario, billed: Mapping[Path, int]) -> None:
        self.scenario = scenario
        self.billed = billed
        self.books = Books()
        self.heard = Heard()
        self.place = ""
        """How far the stream was read."""
        self.told: Counter[Crossing] = Counter()
        self.most_taken: dict[str, int] = {}
        """By tenant, the most runs at once that any look has found."""
        self.denials: Counter[str] = Counter()
        self.pairs_us: list[int] = []
        self.alive = 0
        self.events: list[tuple[float, str]] = []
        self._made_s = time.monotonic()
        self._started_s: float | None = None
        self._ended_s: float | None = None

    def look(self, books: Books) -> None:
        """The ledger says this now."""
        if any(entry.presumed for entry in books.entries.values()) and not any(
            entry.presumed for entry in self.books.entries.values()
        ):
            self.happened("holds of the killed worker presumed spent")
        self.books = books
        for tenant, places in books.runs.items():
            self.most_taken[tenant] = max(places.taken, self.most_taken.get(tenant, 0))

    def happened(self, text: str) -> None:
        """Note an event."""
        self.events.append((time.monotonic() - self._made_s, text))

    def take(self, report: Report) -> None:
        """Add what a worker reported."""
        self.pairs_us += report.pairs_us
        self.denials.update(report.denials)
        self.told.update(report.thresholds)

    def start(self) -> None:
        """The agents begin."""
        self._started_s = time.monotonic()

    def end(self) -> None:
        """The last agent is done."""
        self._ended_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long agents have been running."""
        if self._started_s is None:
            return 0.0
        return (self._ended_s or time.monotonic()) - self._started_s
