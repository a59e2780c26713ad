"""Settled calls of watched runs on their way to the board, where the run's other processes count them, too."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from costscope.background.worker import Worker, ends_with_process
from costscope.errors import StoreUnavailable
from costscope.ledger.times import NOTES_KEEP_MS
from costscope.stores.coordination import Note, Noted

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.engine.control.runaway import Suspicion
    from costscope.engine.state.run import Run
    from costscope.scope.scope import Scope
    from costscope.stores.base import Store
    from costscope.stores.effects import Wake

__all__ = ["Notes"]

_WAITING_MAX: Final = 10_000
_BATCH: Final = 128
_AGAIN_S: Final = 0.5


class Notes:
    """Told in the background, since no call has to wait for it. While the store is away the oldest are forgotten.

    Args:
        store: whose board it is.
        suspect: acts on what the counts of all processes say about a run; called in the background.
        join: puts in force what another process has suspected; called in the background.
    """

    def __init__(
        self,
        store: Store,
        suspect: Callable[[Run, Scope, Suspicion], object],
        join: Callable[[Run, str], object],
    ) -> None:
        self._store = store
        self._suspect = suspect
        self._join = join
        self._waiting: deque[tuple[Run, Scope, Note, Wake | None]] = deque(maxlen=_WAITING_MAX)
        self._worker = Worker(self._send, "costscope-notes")
        ends_with_process(self, "callbacks")

    def put(
        self,
        run: Run,
        scope: Scope,
        digest: int,
        cost: int,
        *,
        failed: bool | None,
        wake: Wake | None = None,
    ) -> None:
        """A call of the run has ended. Does not wait; `wake` is called when it has been told and acted on."""
        note = Note(run.key, f"{digest:x}" if digest else "", failed, NOTES_KEEP_MS, cost)
        self._waiting.append((run, scope, note, wake))
        self._worker.wake()

    def flag(self, run: Run, scope: Scope, reason: str) -> None:
        """Let every process of the run know of a suspicion."""
        note = Note(run.key, "", None, NOTES_KEEP_MS, flag=reason, counts=False)
        self._waiting.append((run, scope, note, None))
        self._worker.wake()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything has been told, at most so long; say whether it has."""
        return not self._waiting or self._worker.drain(timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Tell what waits, for at most this long, and end the thread."""
        self.drain(timeout_s)
        self._worker.close(timeout_s)

    def restart_in_child(self) -> None:
        """The parent tells what the parent's calls did."""
        self._waiting.clear()
        self._worker.restart_in_child()

    def _send(self) -> float | None:
        while self._waiting:
            batch = [self._waiting[at] for at in range(min(_BATCH, len(self._waiting)))]
            try:
                answers = self._store.tell([note for _, _, note, _ in batch])
            except StoreUnavailable:
                return _AGAIN_S
            for (run, scope, _, wake), answer in zip(batch, answers, strict=True):
                assert isinstance(answer, Noted), "the answer to a note"
                try:
                    self._heard(run, scope, answer)
                finally:
                    self._waiting.popleft()  # not earlier: whoever drains waits for what follows from it, too
                    if wake is not None:
                        wake()
        return None

    def _heard(self, run: Run, scope: Scope, answer: Noted) -> None:
        detector = run.detector
        if detector is None:
            return
        for reason in answer.flags.split():
            if detector.claim(reason):
                self._join(run, reason)
        suspicion = detector.noted(answer)
        if suspicion is not None:
            self._suspect(run, scope, suspicion)
