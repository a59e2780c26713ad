"""Records on their way to webhooks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from heapq import nsmallest

from costscope.ledger.times import DELIVERY_KEEP_MS
from costscope.stores.coordination.operations import DELIVERIES_MAX, Delivery


@dataclass(slots=True)
class _Waiting:
    """One delivery: when it is due, and when it is given up."""

    webhook: str
    record: str
    due_ms: int
    drop_ms: int
    attempt: int = 0


class Deliveries:
    """What waits, the oldest first."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, record_id: str, record: str, webhooks: tuple[str, ...], now_ms: int) -> None:
        """Add a delivery to each of these webhooks, due now."""
        self.collect(now_ms)
        for webhook in webhooks:
            delivery_id = f"{record_id}:{webhook}"
            self._waiting.pop(delivery_id, None)  # so that it stands at the end again
            self._waiting[delivery_id] = _Waiting(webhook, record, now_ms, now_ms + DELIVERY_KEEP_MS)
        while len(self._waiting) > DELIVERIES_MAX:
            self._waiting.popitem(last=False)

    def lease(self, count: int, lease_ms: int, now_ms: int) -> list[Delivery]:
        """Take what is due, the longest first; each is due again after the lease."""
        self.collect(now_ms)
        due = [(one.due_ms, name) for name, one in self._waiting.items() if one.due_ms <= now_ms]
        leased = []
        for _, name in nsmallest(count, due):
            one = self._waiting[name]
            one.attempt += 1
            one.due_ms = now_ms + lease_ms
            leased.append(Delivery(name, one.webhook, one.record, one.attempt))
        return leased

    def drop(self, ids: tuple[str, ...], now_ms: int) -> int:
        """Forget these, and return how many still waited."""
        self.collect(now_ms)
        return sum(self._waiting.pop(name, None) is not None for name in ids)

    def collect(self, now_ms: int) -> None:
        """Give up what could not be delivered in time."""
        while self._waiting and next(iter(self._waiting.values())).drop_ms <= now_ms:
            self._waiting.popitem(last=False)
