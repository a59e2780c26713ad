"""Asks a watcher every other second in the background, and tells what it finds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from costscope.background.worker import CLOSING_S, Worker, register
from costscope.errors import InvalidPolicy
from costscope.policy.load.watcher import SETTLE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.policy.load.watcher import PolicyWatcher
    from costscope.policy.model.schema import Policy

INTERVAL_S: Final = 2.0

log = logging.getLogger("costscope")


class PolicyReloader:
    """Asks a watcher again and again, in a daemon thread, until it is closed. A forked child asks by itself.

    Args:
        watcher: belongs to the reloader from now on.
        interval_s: seconds between two looks; a version that has not held still yet is looked at sooner.
        on_change: gets each new policy, in the thread. What it raises is logged.
        on_problem: gets the error of each new version that is wrong; by default it is logged.
    """

    def __init__(
        self,
        watcher: PolicyWatcher,
        *,
        interval_s: float = INTERVAL_S,
        on_change: Callable[[Policy], object],
        on_problem: Callable[[InvalidPolicy], object] | None = None,
    ) -> None:
        self.watcher = watcher
        self._interval_s = interval_s
        self._on_change = on_change
        self._on_problem = on_problem or _report
        self._worker: Worker | None = None

    def start(self) -> None:
        """Begin; a second call changes nothing."""
        if self._worker is None:
            self._worker = Worker(self._look, "costscope-policy")
            register(self, "callbacks")
            self._worker.wake()

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """End, and wait for a call under way for at most `timeout_s`."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop(timeout_s)

    def restart_in_child(self) -> None:
        """Look by itself after a fork, whose child has not got the thread."""
        if self._worker is not None:
            self._worker.restart_in_child()
            self._worker.wake()

    def _look(self) -> float:
        try:
            policy = self.watcher.take_change()
            if policy is not None:
                self._on_change(policy)
        except InvalidPolicy as problem:
            self._tell(problem)
        except Exception:
            log.exception("a change of the policy %s could not be taken over", self.watcher.source)
        return min(self._interval_s, SETTLE_S) if self.watcher.unsettled else self._interval_s

    def _tell(self, problem: InvalidPolicy) -> None:
        try:
            self._on_problem(problem)
        except Exception:
            log.exception("a wrong policy could not be reported: %s", problem)


def _report(problem: InvalidPolicy) -> None:
    log.error("the policy has changed and is wrong, the one before it stays in force: %s", problem)
