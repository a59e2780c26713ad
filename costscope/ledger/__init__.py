"""The ledger: pure commands, the state machine that applies them, and the audit of its books."""

from costscope.ledger.audit import AuditReport, Difference, audit
from costscope.ledger.commands import (
    Account,
    Amounts,
    Balance,
    Command,
    Commit,
    Denial,
    Expire,
    Extend,
    Forgive,
    LostHold,
    OnLost,
    Outcome,
    Read,
    Release,
    Reply,
    Reserve,
)
from costscope.ledger.ids import id_from_key, new_id
from costscope.ledger.meters import CALL_METERS, COUNTERS, HALTS, MAX_AMOUNT, METERS, MONEY, SLOTS, Meter
from costscope.ledger.state import Counters, Snapshot, SnapshotAccount, SnapshotHold
from costscope.ledger.times import LEASE_MAX_MS, PRESUMED_KEEP_MS
from costscope.ledger.transition import Ledger

__all__ = [
    "CALL_METERS",
    "COUNTERS",
    "HALTS",
    "LEASE_MAX_MS",
    "MAX_AMOUNT",
    "METERS",
    "MONEY",
    "PRESUMED_KEEP_MS",
    "SLOTS",
    "Account",
    "Amounts",
    "AuditReport",
    "Balance",
    "Command",
    "Commit",
    "Counters",
    "Denial",
    "Difference",
    "Expire",
    "Extend",
    "Forgive",
    "Ledger",
    "LostHold",
    "Meter",
    "OnLost",
    "Outcome",
    "Read",
    "Release",
    "Reply",
    "Reserve",
    "Snapshot",
    "SnapshotAccount",
    "SnapshotHold",
    "audit",
    "id_from_key",
    "new_id",
]
