"""How much a board remembers, and for how long: the same in every store."""

from __future__ import annotations

from typing import Final

from costscope.errors import InvalidInput
from costscope.ledger.times import DELIVERY_KEEP_MS, KEEP_MAX_MS, MINUTE_MS, STREAM_KEEP_MS

__all__ = [
    "DELIVERIES_MAX",
    "DELIVERY_KEEP_MS",
    "DIGESTS_MAX",
    "IDS_MAX",
    "KEEP_MAX_MS",
    "PAUSE_MAX_MS",
    "RECENT_MAX",
    "RECORDS_MIN",
    "STREAM_KEEP_MS",
    "TAKE_MAX",
    "kept_ms",
    "place_key",
    "place_of",
]

PAUSE_MAX_MS: Final = MINUTE_MS
"""A longer pause between two notes of a run counts as one of this length."""

DIGESTS_MAX: Final = 32
"""Of a run's notes that have a digest, the last ones among which repetitions are counted."""

IDS_MAX: Final = 1000
"""Published ids that are remembered."""

RECORDS_MIN: Final = 1000
"""Records the stream keeps at least."""

RECENT_MAX: Final = 2000
"""Records one `Recent` brings at most."""

DELIVERIES_MAX: Final = 100_000
"""Deliveries that may wait. Beyond, the oldest are given up, for what waits must not fill the server of the books."""

TAKE_MAX: Final = 256
"""Deliveries one `Take` brings at most."""

_DIGITS_MAX: Final = 19
"""As many as always fit into the 64 bits of a stream's numbers."""


def kept_ms(span_ms: int) -> int:
    """A span as every store counts it."""
    return max(0, min(span_ms, KEEP_MAX_MS))


def place_key(key: str) -> tuple[str, str]:
    """The group of a key and what is behind it: `a#b#c` is `#b#c` in `a`; without a `#` the second part is empty."""
    group, sign, rest = key.partition("#")
    return group, sign + rest


def place_of(text: str) -> tuple[int, int]:
    """A place in the stream, to be compared.

    Raises:
        InvalidInput: it did not come from `Published.place`.
    """
    first, sign, second = text.partition("-")
    if not (sign and _is_number(first) and _is_number(second)):
        msg = f"{text[:80]!r} is no place in the stream; take one from `Published.place`, or '' for its start"
        raise InvalidInput(msg)
    return int(first), int(second)


def _is_number(text: str) -> bool:
    return len(text) <= _DIGITS_MAX and text.isascii() and text.isdigit()
