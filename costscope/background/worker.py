"""A daemon thread that does what waits, and the one place that ends such threads with their process.

Each owner has a worker of its own: an endpoint that does not answer holds up what is sent there, and nothing else.

A fork leaves the thread in the parent, so that everything begins anew in the child. At the end of the process everything
is closed in the order of its stage: callbacks may cause publications, publications deliveries, all of them settlements,
and all that is counted.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar
from weakref import WeakSet

from costscope.errors import StoreUnavailable
from costscope.stores.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSING_S: Final = 2.0
"""How long closing may take: for one owner, or for each line of `_STAGES` at the end of the process."""

Stage = Literal["callbacks", "publisher", "webhooks", "outbox", "metrics", "export"]

_STAGES: Final[tuple[tuple[Stage, ...], ...]] = (
    ("callbacks", "publisher", "webhooks"),
    ("outbox",),
    ("metrics",),
    ("export",),
)

log = logging.getLogger("costscope")

T = TypeVar("T")


class Worker:
    """Calls `work` in a thread, once for any number of wakes that came before.

    A finalizer may wake it in the middle of anything that its own thread is doing, so waking takes no lock.

    Args:
        work: does what waits, in an empty context: what it asks for is charged to no scope. Returns the seconds after
            which it wants to be called without being woken, or None. What it raises is logged.
        name: of the thread.
    """

    linger_s: float = 5.0
    """After this long without work the thread ends, so that a forgotten runtime leaves none behind."""

    def __init__(self, work: Callable[[], float | None], name: str) -> None:
        self._work = work
        self._name = name
        self.closing = threading.Event()
        self._renew()

    @property
    def idle(self) -> bool:
        """There is nothing to do, and no thread."""
        return self._wakes.empty() and not self._running.locked()

    @property
    def stopping(self) -> bool:
        """For `work`: try nothing again."""
        return self.closing.is_set() or time.monotonic() >= self._until_s

    def wake(self) -> bool:
        """Have `work` called soon. Does not wait. False: the interpreter is ending and starts no threads any more."""
        self._start()  # first, so that the thread begins by waiting and leaves the interpreter's lock to the caller
        self._wakes.put(None)
        return self._start()  # again, if the thread was ending just then

    def drain(self, timeout_s: float) -> bool:
        """Wait until a call of `work` that begins after this has ended, at most so long; say whether it has."""
        if self.closing.is_set():
            return False
        drained = threading.Event()
        self._drains.append(drained)
        self._hurry.set()
        if self.wake():
            return drained.wait(timeout_s) and not self.closing.is_set()
        self._until_s = time.monotonic() + timeout_s
        self._call()
        return not self.stopping

    def pause(self, seconds: float) -> None:
        """Wait, for `work` before it tries again, but not while someone drains or closes."""
        if not self.closing.is_set():
            self._hurry.wait(min(seconds, self._until_s - time.monotonic()))
            self._hurry.clear()

    def close(self, drain: Callable[[float], object], timeout_s: float) -> None:
        """Drain as the owner does, then end the thread, at most so long."""
        deadline = time.monotonic() + timeout_s
        drain(timeout_s)
        self.stop(max(0.0, deadline - time.monotonic()))

    def stop(self, timeout_s: float = 0.0) -> None:
        """End the thread, even with work waiting; wait for its end at most so long."""
        self.closing.set()
        self._hurry.set()
        if self._running.locked():
            self._wakes.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def restart_in_child(self) -> None:
        """Forget the thread, which has stayed in the parent, perhaps with its locks taken."""
        closed, self.closing = self.closing.is_set(), threading.Event()
        if closed:
            self.closing.set()
        self._renew()

    def _renew(self) -> None:
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._drains: deque[threading.Event] = deque()
        self._hurry = threading.Event()
        self._running = threading.Lock()  # of the one thread that works
        self._thread: threading.Thread | None = None
        self._until_s = math.inf
        """When to give up, where `work` is called by the thread that drains."""

    def _start(self) -> bool:
        if self._running.locked() or self.closing.is_set():
            return True
        _register_in_worker_process()
        # Two may be started at once; the second one finds the first running, and ends.
        thread = threading.Thread(target=Context().run, args=(self._run,), name=self._name, daemon=True)
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
            while not self.closing.is_set() and self._wait(again_s) and not self.closing.is_set():
                waiting = len(self._drains)
                again_s = self._call()
                for _ in range(waiting):
                    self._drains.popleft().set()
        finally:
            self._thread = None
            self._running.release()
            if not self._wakes.empty():  # put while this thread was ending
                self._start()

    def _call(self) -> float | None:
        try:
            return self._work()
        except Exception:
            log.exception("%s failed", self._name)
            return self.linger_s

    def _wait(self, again_s: float | None) -> bool:
        """Wait for a wake, or for the time to look again; False: there was nothing for long."""
        try:
            self._wakes.get(timeout=self.linger_s if again_s is None else max(0.0, again_s))
        except Empty:
            return again_s is not None
        with suppress(Empty):
            while True:  # one call answers all the wakes before it
                self._wakes.get_nowait()
        return True


def send_until_taken(worker: Worker, send: Callable[[T], object], batch: T) -> bool:
    """Send a batch, again and again while the store is away; False if the worker was stopped meanwhile.

    Raises:
        CostscopeError: the store refuses it for good.
    """
    # Imported when there is something to send: most processes never have.
    from tenacity import Retrying, retry_if_exception_type  # noqa: PLC0415

    retrying = Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=Backoff(0.05, 2.0),
        stop=lambda _: worker.stopping,
        sleep=worker.pause,
        reraise=True,
    )
    try:
        retrying(send, batch)
    except StoreUnavailable:
        return False
    return True


class Background(Protocol):
    """What has a worker, or waits for another's."""

    def close(self, timeout_s: float, /) -> object:
        """Finish what waits, for at most this long, and end the thread."""
        ...

    def restart_in_child(self) -> None:
        """Forget the parent's thread, its locks and what it had to do."""
        ...


_known: Final[dict[Stage, WeakSet[Background]]] = {stage: WeakSet() for line in _STAGES for stage in line}
_registered_in: Final[set[int]] = set()


def register(thing: Background, stage: Stage) -> None:
    """Close this at the end of the process unless it is gone by then; start it anew in a forked child."""
    if not any(_known.values()):
        run_exit_hook_before_others()
    _known[stage].add(thing)


def run_exit_hook_before_others() -> None:
    """Close everything before what has been registered with `atexit` so far, such as a last export of metrics."""
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _register_in_worker_process() -> None:
    """Run the exit hook in a worker of multiprocessing: one that was forked leaves without `atexit`.

    Its own finalizers are run, but those alone that it has registered after the fork.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or os.getpid() in _registered_in:
        return
    from multiprocessing.util import Finalize  # noqa: PLC0415 - it has been imported in such a process

    _registered_in.add(os.getpid())
    Finalize(None, _close_all, kwargs={"export": True}, exitpriority=0)


def _close_all(*, export: bool = False) -> None:
    """Close everything: the exit hook.

    Args:
        export: export metrics, too; where `atexit` is run, the SDK of OpenTelemetry does so itself, after this.
    """
    for stages in _STAGES if export else _STAGES[:-1]:
        deadline = time.monotonic() + CLOSING_S
        for thing in [thing for stage in stages for thing in list(_known[stage])]:
            thing.close(max(0.0, deadline - time.monotonic()))


def _after_fork() -> None:
    for things in _known.values():
        for thing in list(things):
            thing.restart_in_child()
    _registered_in.clear()  # multiprocessing forgets what is registered before it runs


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
