"""Snapshots of ledgers that never were: accounts with the numbers a test wants."""

from __future__ import annotations

import json

from costscope.ledger import Counters, Snapshot, SnapshotAccount, SnapshotHold

__all__ = ["DAY_MS", "NOON_MS", "account", "snapshot"]

DAY_MS = 86_400_000
NOON_MS = 19_000 * DAY_MS + DAY_MS // 2


def account(budget="day", labels=None, *, window=None, limits=None, meters=None, key=None):
    """One account; `meters` is meter to spent, or to (spent, held); without `window` it is the day around noon."""
    start, end = (NOON_MS - DAY_MS // 2, NOON_MS + DAY_MS // 2) if window is None else window
    labels = {} if labels is None else labels
    about = {
        "budget": budget,
        "labels": labels,
        "period": "daily" if end else "total",
        "start_ms": start,
        "end_ms": end,
        "limits": {"cost": 10**9} if limits is None else limits,
    }
    found = {}
    for meter, amount in ({"cost": 0} if meters is None else meters).items():
        spent, held = amount if isinstance(amount, tuple) else (amount, 0)
        found[meter] = Counters(spent=spent, held=held, reserved=spent + held, settled=spent)
    place = ",".join(f"{name}={value}" for name, value in labels.items())
    return SnapshotAccount(key or f"{budget}/{place}/{start}-{end}", json.dumps(about), 0, found)


def snapshot(*accounts, now_ms=NOON_MS, holds=0):
    """All of them at one instant."""
    live = tuple(SnapshotHold(f"h{at}", now_ms + 1000, ()) for at in range(holds))
    return Snapshot(now_ms, accounts, live)
