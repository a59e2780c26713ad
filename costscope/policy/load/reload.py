"""A thread that asks a watcher every other second, and tells what it finds."""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final

from costscope.errors import InvalidPolicy
from costscope.policy.load.watcher import SETTLE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.policy.load.watcher import PolicyWatcher
    from costscope.policy.model.schema import Policy

__all__ = ["INTERVAL_S", "PolicyReloader"]

INTERVAL_S: Final = 2.0

log = logging.getLogger("costscope")


class PolicyReloader:
    """Asks a watcher again and again, in a daemon thread, until it is stopped. A forked child asks by itself.

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
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; a second call changes nothing."""
        if self._thread is not None:
            return
        _reloaders.add(self)
        self._stopping = threading.Event()
        # In a context of its own: the scope that happens to be open here is not the thread's.
        self._thread = threading.Thread(
            target=contextvars.Context().run,
            args=(self._run, self._stopping),
            name="costscope-policy",
            daemon=True,
        )
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End, and wait for a call under way for at most `timeout_s`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        _reloaders.discard(self)
        self._stopping.set()
        if thread is not threading.current_thread():
            thread.join(timeout_s)

    def restart_in_child(self) -> None:
        """After a fork the thread is the parent's; the child needs one of its own."""
        if self._thread is not None:
            self._thread = None
            self.start()

    def _run(self, stopping: threading.Event) -> None:
        wait_s = self._interval_s
        while not stopping.wait(wait_s):
            self._look()
            wait_s = min(self._interval_s, SETTLE_S) if self.watcher.unsettled else self._interval_s

    def _look(self) -> None:
        try:
            policy = self.watcher.changed()
            if policy is not None:
                self._on_change(policy)
        except InvalidPolicy as problem:
            self._tell(problem)
        except Exception:
            log.exception("a change of the policy %s could not be taken over", self.watcher.source)

    def _tell(self, problem: InvalidPolicy) -> None:
        try:
            self._on_problem(problem)
        except Exception:
            log.exception("a wrong policy could not be reported: %s", problem)


_reloaders: weakref.WeakSet[PolicyReloader] = weakref.WeakSet()


def _report(problem: InvalidPolicy) -> None:
    log.error("the policy has changed and is wrong, the one before it stays in force: %s", problem)


def _after_fork() -> None:
    for reloader in list(_reloaders):
        reloader.restart_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
