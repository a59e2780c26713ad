"""Counting the events of a ledger by type, from the stream on its board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from costscope.board import Published, Recent
from costscope.events.records import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.stores import Store

__all__ = ["EventCounts"]

_OTHER: Final = "other"
_ALL: Final = 100_000
"""More than any stream keeps."""


class _Typed(msgspec.Struct):
    type: str


_decoder: Final = msgspec.json.Decoder(_Typed)


class EventCounts:
    """How many events of each type there were since the first look.

    Every type is there from the start, as 0: Prometheus sees a counter rise only from a value it has scraped. What
    the stream holds at the first look is not counted, or a restart would count it a second time.
    """

    def __init__(self) -> None:
        self._counts = dict.fromkeys((*KINDS, _OTHER), 0)
        self._place: str | None = None

    def look(self, store: Store) -> Mapping[str, int] | None:
        """The counts, with what has come since the last look; None if the store, by other hands, has no board."""
        if getattr(store, "tell", None) is None:
            return None
        [answer] = store.tell((Recent(count=_ALL, after=self._place or ""),))
        found = [each for each in answer if isinstance(each, Published)] if isinstance(answer, list) else []
        if self._place is not None:
            for published in found:
                self._counts[_type(published.record)] += 1
        self._place = found[-1].place if found else self._place or ""
        return dict(self._counts)


def _type(record: str) -> str:
    try:
        found = _decoder.decode(record).type
    except msgspec.DecodeError:  # by other hands, or by a newer version
        return _OTHER
    return found if found in KINDS else _OTHER
