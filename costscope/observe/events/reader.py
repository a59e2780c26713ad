"""The events of a ledger, read from its board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.observe.events.records import decode_event
from costscope.stores.coordination import Published, Recent

if TYPE_CHECKING:
    from costscope.observe.events.records import Event
    from costscope.stores import Store

__all__ = ["EventStream"]


class EventStream:
    """Follows the stream of a ledger."""

    def __init__(self) -> None:
        self._place = ""

    def new(self, store: Store, count: int) -> list[Event]:
        """The last `count` of those that came since the last look, oldest first; what cannot be decoded is left out."""
        [answer] = store.tell((Recent(count=count, after=self._place),))
        found = [each for each in answer if isinstance(each, Published)] if isinstance(answer, list) else []
        if found:
            self._place = found[-1].place
        return [event for each in found if (event := _decoded(each.record)) is not None]


def _decoded(record: str) -> Event | None:
    try:
        return decode_event(record)
    except msgspec.DecodeError:  # by other hands, or by a newer version
        return None
