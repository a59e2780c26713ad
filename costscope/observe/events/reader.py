"""The events of a ledger, read from its board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from costscope.observe.events.records import decode_event
from costscope.stores.coordination.operations import Published, ReadEvents

if TYPE_CHECKING:
    from costscope.observe.events.records import Event
    from costscope.stores import Store


class EventReader:
    """Follows the event log of a ledger: each look brings what came since the one before."""

    def __init__(self) -> None:
        self._place = ""

    def read(self, store: Store, count: int) -> list[Event]:
        """Return the last `count` of the new events, oldest first; what cannot be decoded here is passed over."""
        records = self.read_records(store, count)
        return [event for record in records if (event := _try_decode(record)) is not None]

    def read_records(self, store: Store, count: int) -> list[str]:
        """Return the JSON of the last `count` of the new events, oldest first."""
        [answer] = store.tell((ReadEvents(count=count, after=self._place),))
        found = [each for each in answer if isinstance(each, Published)] if isinstance(answer, list) else []
        if found:
            self._place = found[-1].place
        return [each.record for each in found]


def _try_decode(record: str) -> Event | None:
    try:
        return decode_event(record)
    except msgspec.DecodeError:  # by other hands, or by a newer version
        return None
