"""What calls hold, beside the place that each run in progress has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.run.run_life import ADMISSION

if TYPE_CHECKING:
    from costscope.ledger import Snapshot, SnapshotHold

__all__ = ["held_by_calls"]


def held_by_calls(snapshot: Snapshot) -> list[SnapshotHold]:
    """The live holds of calls."""
    return [hold for hold in snapshot.holds if not hold.id.startswith(ADMISSION)]
