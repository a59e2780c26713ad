"""Settled calls of watched runs on their way to the board, where the run's other processes count them, too."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from costscope.background.worker import CLOSING_S, Worker, register
from costscope.errors import StoreUnavailable
from costscope.stores.coordination.operations import CallCounts, RecordCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.base import Store
    from costscope.stores.effects import Wake

_WAITING_MAX: Final = 10_000
_BATCH: Final = 128
_AGAIN_S: Final = 0.5


class CallReports:
    """Sends reports in the background, since no call has to wait for it; while the store is away it drops the oldest.

    Args:
        store: whose board it is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[RecordCall, Callable[[CallCounts], object], Wake | None]] = deque(
            maxlen=_WAITING_MAX
        )
        self._worker = Worker(self._send, "costscope-reports")
        register(self, "callbacks")

    def put(
        self, report: RecordCall, on_counts: Callable[[CallCounts], object], wake: Wake | None = None
    ) -> None:
        """Enter a report. Does not wait.

        Args:
            report: of a call that has ended, or of a suspicion that every process of the run is to know.
            on_counts: called in the background with what all processes have counted.
            wake: called when the report was sent and its answer acted on.
        """
        self._waiting.append((report, on_counts, wake))
        self._worker.wake()

    def drain(self, timeout_s: float) -> bool:
        """Wait until all reports are sent, at most so long; return whether they are."""
        return not self._waiting or self._worker.drain(timeout_s)

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """Send what waits, for at most this long, and end the thread."""
        self._worker.close(self.drain, timeout_s)

    def restart_in_child(self) -> None:
        """Forget what the parent reports itself."""
        self._waiting.clear()
        self._worker.restart_in_child()

    def _send(self) -> float | None:
        while self._waiting:
            batch = [self._waiting[at] for at in range(min(_BATCH, len(self._waiting)))]
            try:
                answers = self._store.tell([report for report, _, _ in batch])
            except StoreUnavailable:
                return _AGAIN_S
            for (_, on_counts, wake), answer in zip(batch, answers, strict=True):
                assert isinstance(answer, CallCounts), "the answer to a report"
                try:
                    on_counts(answer)
                finally:
                    self._waiting.popleft()  # not earlier: a drain waits for what follows from it, too
                    if wake is not None:
                        wake()
        return None
