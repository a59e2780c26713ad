"""The state machine in Python and the one in Lua, driven with the same commands and the same clock."""

from ledger_twins.machine import LedgerComparison, compare_ledgers
from ledger_twins.twins import Disagreement, Twins, with_clock

__all__ = ["Disagreement", "LedgerComparison", "Twins", "compare_ledgers", "with_clock"]
