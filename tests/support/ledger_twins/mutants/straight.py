"""Mistakes in what every call does: the same rules once more, in the main chunk of `ledger.lua`."""

from __future__ import annotations

STRAIGHT = {
    "straight: slots are spent": (
        "if slots and (meter == RUN_SLOTS or meter == CALL_SLOTS) then",
        "if false then",
    ),
    "straight: the slots of calls are spent": (
        "if slots and (meter == RUN_SLOTS or meter == CALL_SLOTS) then",
        "if slots and meter == RUN_SLOTS then",
    ),
    "straight: only the slots of runs are looked for": (
        "local slots = amounts[RUN_SLOTS] >= 0 or amounts[CALL_SLOTS] >= 0",
        "local slots = amounts[RUN_SLOTS] >= 0",
    ),
}
