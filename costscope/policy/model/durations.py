"""Durations as people write them: `90s`, `30m`, `2h`, `1d`, `1h30m`, or a number of seconds."""

from __future__ import annotations

import functools
import math
import re
from fractions import Fraction
from typing import Final

from costscope.errors import InvalidAmount
from costscope.ledger.times import MAX_DURATION_MS, UNITS_MS

Duration = str | int | float
"""Seconds, or text with a unit: `90s`, `30m`, `2h`, `1d`, `1h30m`."""

_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_PART: Final = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"
_PARTS: Final = re.compile("".join(f"(?:{_PART}{unit})?" for unit in UNITS_MS), re.ASCII)
"""The units fall from left to right, and each comes once: `1h30m`, not `30m1h`."""
_SHOWN: Final = 40


@functools.lru_cache(maxsize=256, typed=True)
def to_ms(duration: object, *, what: str = "duration") -> int:
    """Convert a duration to milliseconds, rounded up.

    Args:
        duration: a number of seconds, or text with units: `90s`, `1h30m`, `250ms`.
        what: the name of the value, for the error message.

    Raises:
        InvalidAmount: negative, not finite, a bool, other text, or above 10,000 days.
    """
    milliseconds = _exact(duration)
    if milliseconds is None:
        shown = ascii(duration)[:_SHOWN]
        msg = f"{what}: {shown} is no duration; write seconds (90), or text with units such as 90s, 30m, 1h30m, 1d"
        raise InvalidAmount(msg)
    if milliseconds > MAX_DURATION_MS:
        msg = f"{what}: {ascii(duration)[:_SHOWN]} is above the longest duration, 10000d"
        raise InvalidAmount(msg)
    return math.ceil(milliseconds)


def _exact(duration: object) -> Fraction | None:
    if isinstance(duration, str):
        return _read(duration)
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0 <= duration < math.inf:
        return None  # NaN is not 0 or more, either
    return Fraction(repr(min(duration, MAX_DURATION_MS))) * 1000


def _read(text: str) -> Fraction | None:
    if _SECONDS.fullmatch(text):
        return Fraction(text) * 1000
    found = _PARTS.fullmatch(text)
    if found is None or not text:
        return None
    numbers = zip(found.groups(), UNITS_MS.values(), strict=True)
    return sum((Fraction(number) * unit for number, unit in numbers if number), Fraction(0))
