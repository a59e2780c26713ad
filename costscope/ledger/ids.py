"""Ids of holds: made by the client before the first try, so that a retry is recognised.

128 bits as 32 hex digits: 48 bits of milliseconds (ids sort by time) and 80 bits from `os.urandom`. The random
bits are drawn in blocks, because a system call per id costs as much as the rest of the reservation; a forked
child throws its copy of the block away, or parent and child would draw the same ids.
"""

from __future__ import annotations

import os
from time import time_ns
from typing import Final

_BLOCK_IDS: Final = 256
_RANDOM_BYTES: Final = 10
_pool: list[str] = []
_stamp: tuple[int, str] = (0, "")


def new_id(now_ms: int | None = None) -> str:
    """Make a fresh, time-sortable 128-bit id as 32 hex digits.

    Args:
        now_ms: the time, in ms since the epoch, where the caller knows it already.
    """
    global _stamp  # noqa: PLW0603 - the last millisecond's text; a thread that loses the race writes the same
    ms, text = _stamp
    if now_ms is None:
        now_ms = time_ns() // 1_000_000
    if now_ms != ms:
        text = f"{now_ms:012x}"
        _stamp = (now_ms, text)
    try:
        return text + _pool.pop()  # list.pop is atomic: two threads never get the same tail
    except IndexError:
        _pool.extend(_draw())
        return new_id(now_ms)


def id_from_key(key: str) -> str:
    """Derive the id that stands for a user's idempotency key: equal keys give equal ids, in every process."""
    from hashlib import blake2b  # noqa: PLC0415 - OpenSSL takes 6 ms to import, and few calls have keys

    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16, person=b"costscope-key").hexdigest()


def _draw() -> list[str]:
    block = os.urandom(_BLOCK_IDS * _RANDOM_BYTES).hex()
    width = 2 * _RANDOM_BYTES
    return [block[at : at + width] for at in range(0, len(block), width)]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.clear)
