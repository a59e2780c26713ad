"""Everything a demo has found out, before anything is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from costscope.cli.demo.heard import Crossing, Heard
from costscope.cli.demo.ledger import Books
from costscope.cli.demo.scenario import Path, Scenario
from costscope.ledger import AuditReport

__all__ = ["Outcome"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The books, the provider's bill, the stream of events and the clock of one demo."""

    scenario: Scenario
    store: str
    """The URL of the books."""
    books: Books
    """After every hold was settled or presumed."""
    audit: AuditReport
    billed: Mapping[Path, int]
    """By the provider, in nano-USD by path."""
    calls: int
    """Requests it billed."""
    requests: Mapping[Path, int]
    """Of each run, answered with an error or not."""
    served_instead: int
    """Requests it got that had asked for another model."""
    saved: int
    """What those would have cost more, in nano-USD, by the provider's own prices."""
    unanswered_calls: int
    """Calls that killed workers had in flight."""
    killed_processes: int
    heard: Heard
    told: Counter[Crossing]
    """How often a callback was told of each threshold, in all workers."""
    most_taken: Mapping[str, int]
    """By tenant, the most runs at once that any look into the books has found."""
    most_served: Mapping[str, int]
    """By tenant, the most requests that the provider had at one moment: each is of another run."""
    denials: Mapping[str, int]
    """Calls that were refused, by kind."""
    pairs_us: list[int]
    """Microseconds of each reserve+commit pair."""
    seconds: float
    """How long the agents ran."""
