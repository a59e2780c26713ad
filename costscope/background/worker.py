"""A daemon thread that does what waits: started when there is something, gone when there has long been nothing."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Literal, Protocol
from weakref import WeakSet

from costscope.context import in_empty_context

if TYPE_CHECKING:
    from collections.abc import Callable


CLOSING_S: Final = 2.0
"""How long closing may take, for one thing or for all at the end of the process."""

Stage = Literal["callbacks", "publisher", "webhooks"]
"""What is closed first: callbacks may cause publications, publications deliveries."""

_STAGES: Final[tuple[Stage, ...]] = ("callbacks", "publisher", "webhooks")


class Background(Protocol):
    """Something with a thread."""

    def close(self, timeout_s: float = CLOSING_S) -> object:
        """Finish what waits, for at most this long, and end the thread."""
        ...

    def restart_in_child(self) -> None:
        """Forget the parent's thread, its locks and what it had to do."""
        ...


_known: Final[dict[Stage, WeakSet[Background]]] = {stage: WeakSet() for stage in _STAGES}
_registered: Final[set[str]] = set()
_workers_watched: Final[set[int]] = set()


def ends_with_process(thing: Background, stage: Stage) -> None:
    """Close this at the end of the process unless it is gone by then; start it anew in a forked child."""
    _known[stage].add(thing)
    if not _registered:
        # Not before it is needed: what is registered later runs earlier, and the outbox, which may get settlements
        # of metered calls that a callback makes, must be closed behind this.
        _registered.add("atexit")
        atexit.register(_close_all)


def begins() -> None:
    """A thread starts here.

    A forked worker of multiprocessing leaves without `atexit`, but runs finalizers that it has registered itself.
    """
    workers = sys.modules.get("multiprocessing.util")
    if workers is not None and os.getpid() not in _workers_watched:
        _workers_watched.add(os.getpid())
        workers.Finalize(None, _close_all, exitpriority=1)  # before the outbox's, which has 0


def _close_all() -> None:
    deadline = time.monotonic() + CLOSING_S
    for stage in _STAGES:
        for thing in list(_known[stage]):
            thing.close(max(0.0, deadline - time.monotonic()))


def _after_fork() -> None:
    for stage in _STAGES:
        for thing in list(_known[stage]):
            thing.restart_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)

_IDLE_S: Final = 5.0
"""After this long without work the thread ends, so that a forgotten runtime leaves none behind."""

log = logging.getLogger("costscope.events")


class Worker:
    """Calls `work` in a thread, once for any number of wakes that came before.

    A finalizer may wake it in the middle of anything that its own thread is doing, so waking takes no lock.

    Args:
        work: does what waits. Returns the seconds after which it wants to be called without being woken, or None.
            What it raises is logged.
        name: of the thread.
    """

    def __init__(self, work: Callable[[], float | None], name: str) -> None:
        self._work = work
        self._name = name
        self.closing = threading.Event()
        self._new()

    def wake(self) -> None:
        """Have `work` called soon. Does not wait."""
        self._wakes.put(None)
        self._start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until a call of `work` that begins after this has ended, at most so long; say whether it has."""
        if self.closing.is_set():
            return False
        drained = threading.Event()
        self._drains.append(drained)
        self._hurry.set()
        self._wakes.put(None)
        if not self._start():  # no new threads while the interpreter ends
            self._worked()
            return True
        return drained.wait(timeout_s)

    def pause(self, seconds: float) -> None:
        """For `work`, before it tries again: wait, but not when somebody drains or closes."""
        self._hurry.wait(seconds)
        self._hurry.clear()

    def close(self, timeout_s: float = CLOSING_S) -> None:
        """End the thread; wait for that at most so long. What is to be done before that is `drain`'s."""
        deadline = time.monotonic() + timeout_s
        self.closing.set()
        self._hurry.set()
        self._wakes.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))

    def restart_in_child(self) -> None:
        """The thread has stayed in the parent, perhaps with its locks taken."""
        closed, self.closing = self.closing.is_set(), threading.Event()
        if closed:
            self.closing.set()
        self._new()

    def _new(self) -> None:
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._drains: deque[threading.Event] = deque()
        self._hurry = threading.Event()
        self._running = threading.Lock()  # of the one thread that works
        self._thread: threading.Thread | None = None

    def _start(self) -> bool:
        if self._running.locked() or self.closing.is_set():
            return True
        begins()
        # Two may be started at once; the second one finds the first running, and ends.
        thread = threading.Thread(target=in_empty_context(self._run), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        return True

    def _run(self) -> None:
        if not self._running.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        again_s: float | None = None
        try:
            while self._woken(again_s) and not self.closing.is_set():
                waiting = len(self._drains)
                again_s = self._worked()
                for _ in range(waiting):
                    self._drains.popleft().set()
        finally:
            self._thread = None
            self._running.release()
        if not self._wakes.empty():  # put while this thread was ending
            self._start()

    def _worked(self) -> float | None:
        try:
            return self._work()
        except Exception:
            log.exception("%s failed", self._name)
            return _IDLE_S

    def _woken(self, again_s: float | None) -> bool:
        """Wait for a wake, or for the time to look again; False: there was nothing for long."""
        try:
            self._wakes.get(timeout=_IDLE_S if again_s is None else again_s)
        except Empty:
            return again_s is not None
        with suppress(Empty):
            while True:  # one call answers all the wakes before it
                self._wakes.get_nowait()
        return True
