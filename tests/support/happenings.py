"""Records of events for tests: one of every kind, with what a test wants to say about it."""

from __future__ import annotations

from datetime import UTC, datetime

from costscope.events import (
    AccountReset,
    CallDegraded,
    CallRefused,
    CallSettled,
    Downgraded,
    PolicyReloaded,
    RunawayDetected,
    RunEnded,
    RunStarted,
    ThresholdCrossed,
)
from costscope.ledger import new_id

__all__ = ["EVERY_KIND", "happening"]

_SAID = {
    ThresholdCrossed: {
        "budget": "tenant-month",
        "meter": "cost",
        "threshold": 80.0,
        "spent": 700_000_000,
        "held": 100_000_000,
        "remaining": 200_000_000,
        "limit": 1_000_000_000,
        "window_start": datetime(2026, 11, 1, tzinfo=UTC),
        "window_end": datetime(2026, 12, 1, tzinfo=UTC),
        "actions": ("log", "callback"),
    },
    CallRefused: {
        "what": "model",
        "name": "gpt-4o",
        "kind": "exhausted",
        "reason": "nothing is left",
        "budget": "tenant-month",
    },
    CallDegraded: {
        "what": "tool",
        "name": "search",
        "budget": "team",
        "meter": "tool_calls",
        "limit": 1_000,
        "spent": 1_000,
        "held": 1,
    },
    Downgraded: {"asked": "gpt-4o", "effective": "gpt-4o-mini", "reason": "80% of tenant-month"},
    RunawayDetected: {
        "run": "r-1",
        "reason": "failures",
        "detail": "3 calls failed one after the other",
        "measured": 3.0,
        "allowed": 3.0,
        "actions": ("log", "callback", "halt_run"),
    },
    CallSettled: {"what": "model", "name": "gpt-4o", "outcome": "ok", "cost": 1_000, "held": 2_000},
    RunStarted: {"run": "r-1"},
    RunEnded: {"run": "r-1", "status": "completed", "cost": 10_000_000, "seconds": 1.25},
    AccountReset: {"budget": "team", "reason": "a wrong price", "forgiven": {"cost": 5, "tool_calls": 2}},
    PolicyReloaded: {"source": "budgets.yaml", "accepted": True},
}


def happening(record=ThresholdCrossed, **said):
    """A record of this type; what is said takes the place of what it says by default."""
    given = {"id": new_id(), "at": datetime(2026, 11, 25, 12, tzinfo=UTC), "labels": {"tenant": "acme"}}
    return record(**(given | _SAID[record] | said))


EVERY_KIND = tuple(_SAID)
"""The types of records, in the order of their kinds."""
