"""Deliberate mistakes: what the mistake is, the text of the source, and what it becomes. Each text occurs once."""

from ledger_twins.mutants.corners import CORNER_REFERENCE, CORNER_SCRIPT, QUEUE_CORNER_SCRIPT
from ledger_twins.mutants.queues import QUEUE_REFERENCE, QUEUE_SCRIPT
from ledger_twins.mutants.reference import REFERENCE
from ledger_twins.mutants.script import SCRIPT
from ledger_twins.mutants.straight import STRAIGHT

__all__ = [
    "CORNER_REFERENCE",
    "CORNER_SCRIPT",
    "QUEUE_CORNER_SCRIPT",
    "QUEUE_REFERENCE",
    "QUEUE_SCRIPT",
    "REFERENCE",
    "SCRIPT",
    "STRAIGHT",
]
