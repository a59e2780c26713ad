"""The record of one reservation, from its reserve until it is forgotten."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from costscope.ledger.commands import Amounts, Reserve
from costscope.ledger.plan import Entry, Plan

__all__ = ["Hold", "HoldState"]


class HoldState(IntEnum):
    """Where a hold is in its life; `HELD` is the only state that still holds anything."""

    HELD = 1
    COMMITTED = 2
    RELEASED = 3
    """Given back: by its owner, by `on_lost="release"`, or a tombstone of an id that was never reserved."""
    PRESUMED = 4
    LATE = 5
    ORPHAN = 6
    FORGIVEN = 7
    """No hold: what `Forgive` leaves behind, so that it is not entered twice."""


class Hold(msgspec.Struct, gc=False):
    """The record of one reservation."""

    state: HoldState
    request: Reserve | None = None
    """The reserve as it was asked for; None for tombstones and orphans."""
    plan: Plan | None = None
    entries: list[Entry] = []
    """What is held where."""
    units: int = 0
    deadline_ms: int = 0
    until_ms: int = 0
    """The deadline can be extended to this moment and no further: later the accounts may be gone."""
    drop_ms: int = 0
    """When the record may be forgotten; 0 while the hold is live."""
    actual: Amounts = {}
