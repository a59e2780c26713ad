"""Deliberate mistakes: what the mistake is, the text of the source, and what it becomes. Each text occurs once."""

from ledger_twins.mutants.queues import QUEUE_REFERENCE, QUEUE_SCRIPT
from ledger_twins.mutants.reference import REFERENCE, SLOT_REFERENCE
from ledger_twins.mutants.script import SCRIPT
from ledger_twins.mutants.straight import STRAIGHT

__all__ = ["QUEUE_REFERENCE", "QUEUE_SCRIPT", "REFERENCE", "SCRIPT", "SLOT_REFERENCE", "STRAIGHT"]
