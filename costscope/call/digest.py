"""What two calls have in common when they are the same call: a number made of name and arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from zlib import adler32, crc32

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["digest_of"]

_encoder: Final = msgspec.json.Encoder()


def digest_of(kind: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """The same number for the same call, in every process.

    Two checksums of 32 bits: calls that differ by chance do not meet, and nobody gains by making them. 0 for arguments that are no plain data:
    their content cannot be compared, and a call that only seems the same must not halt a run.
    """
    try:
        text = _encoder.encode((kind, name, args, kwargs))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return 0
    return crc32(text) << 32 | adler32(text)
