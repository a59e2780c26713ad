"""What the Lua scripts share with the Python ledger, written into their text: meters, refusals, times. Pure.

A script names such a value as `$NAME`. So there is one place where it is changed, and the two hosts cannot differ.
"""

from __future__ import annotations

import re
from typing import Final

from costscope.errors import DENIALS
from costscope.ledger.meters import MAX_AMOUNT, METERS, SLOTS
from costscope.ledger.times import DELIVERY_KEEP_MS, EVENTS_KEEP_MS, LEASE_MAX_MS, PRESUMED_KEEP_MS, YEAR_MS
from costscope.stores.coordination.operations import PAUSE_MAX_MS

BEFORE_A: Final = ord("a") - 1
"""A meter's place, from 1 on, is what its letter has above this."""

_METERS_MAX: Final = 13
"""The script knows which meters a hold has by a number of as many hexadecimal digits: with more it passes 2^53."""

_NAME: Final = re.compile(r"\$([A-Z][A-Z_0-9]*)")


def fill_in(source: str) -> str:
    """Write the values into the text of a script.

    Raises:
        KeyError: it names a value that there is none of.
    """
    return _NAME.sub(lambda found: _VALUES[found[1]], source)


def place_of(meter: str) -> int:
    """Return the place of a meter in the lists of the script, from 1 on."""
    return ord(METERS[meter].letter) - BEFORE_A


def check_meters() -> None:
    """Refuse meters that the script cannot count: what it wrote with other letters would be read as another meter."""
    letters = "".join(meter.letter for meter in METERS.values())
    if letters != "".join(chr(BEFORE_A + place) for place in range(1, len(METERS) + 1)):
        msg = f"the letters of the meters are {letters}; they go from a on without a gap, in the order of the rows"
        raise ValueError(msg)
    if len(METERS) > _METERS_MAX:
        msg = f"{len(METERS)} meters; ledger.lua counts at most {_METERS_MAX} (`mask`)"
        raise ValueError(msg)
    if {"concurrent_runs", "concurrent_calls"} != SLOTS:
        msg = f"slots are {', '.join(sorted(SLOTS))}; the plain commit of ledger.lua knows those of runs and of calls"
        raise ValueError(msg)


check_meters()
_VALUES: Final = {
    "METERS": ", ".join(f"'{name}'" for name in METERS),
    "NO_AMOUNTS": ", ".join(["-1"] * len(METERS)),
    "IS_SLOT": ", ".join(f"[{place_of(name)}] = true" for name in METERS if name in SLOTS),
    "RUN_SLOTS": str(place_of("concurrent_runs")),
    "CALL_SLOTS": str(place_of("concurrent_calls")),
    "BEFORE_A": str(BEFORE_A),
    "MAX": str(MAX_AMOUNT),
    "LEASE_MAX": str(LEASE_MAX_MS),
    "PRESUMED_KEEP": str(PRESUMED_KEEP_MS),
    "YEAR": str(YEAR_MS),
    "EVENTS_KEEP": str(EVENTS_KEEP_MS),
    "DELIVERY_KEEP": str(DELIVERY_KEEP_MS),
    "PAUSE": str(PAUSE_MAX_MS),
    **{kind.upper(): str(denial.rank) for kind, denial in DENIALS.items() if denial.rank},
}
