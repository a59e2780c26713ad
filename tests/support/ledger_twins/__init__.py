"""The state machine in Python and the one in Lua, driven with the same commands and the same clock."""

from ledger_twins.comparison import compare_ledgers
from ledger_twins.corners import CornerComparison, QueueCornerComparison
from ledger_twins.gates import QueueComparison
from ledger_twins.machine import LedgerComparison
from ledger_twins.twins import Disagreement, Twins, with_clock

__all__ = [
    "CornerComparison",
    "Disagreement",
    "LedgerComparison",
    "QueueComparison",
    "QueueCornerComparison",
    "Twins",
    "compare_ledgers",
    "with_clock",
]
