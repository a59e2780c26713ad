"""Calling the callbacks of events: plain ones at once, async ones as tasks that can be waited for."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Final

from costscope.background.worker import Worker
from costscope.context import current_call, set_current_call
from costscope.observe.events.records import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.observe.events.callbacks import Callback
    from costscope.observe.events.records import Event


log = logging.getLogger("costscope.events")


class Job:
    """An awaitable that a callback has returned.

    Args:
        awaitable: what is to be awaited.
        what: for the log.
        ended: told when nothing more comes of it.
    """

    def __init__(self, awaitable: Awaitable[object], what: str, *, ended: Callable[[Job], object]) -> None:
        self.done = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where it runs; None while it waits for the background's."""
        self._awaitable = awaitable
        self._what = what
        self._ended = ended
        self._context = copy_context()
        self._task: asyncio.Task[None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make it a task of this loop, which runs in this thread."""
        self.loop = loop
        self._task = self._context.run(loop.create_task, self._run())
        self._task.add_done_callback(self._finish)

    def drop(self, why: str) -> None:
        """Give it up: its coroutine ends without a warning of Python's, and the log says so."""
        if isinstance(self._awaitable, Coroutine):
            with suppress(Exception):  # of one that awaits something even then
                self._awaitable.close()
        log.warning("%s was not run to its end: %s", self._what, why)
        self._end()

    async def _run(self) -> None:
        try:
            await self._awaitable
        except Exception:
            log.exception("%s failed", self._what)

    def _finish(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            if (error := task.exception()) is not None:  # a KeyboardInterrupt, which has ended the loop
                log.error("%s was interrupted: %r", self._what, error)
            self._end()
        else:  # as `asyncio.run` does with what is left when its main coroutine ends
            self.drop("its task was cancelled")

    def _end(self) -> None:
        self._ended(self)
        self.done.set()


_inherited: Final[list[object]] = []
"""Loops of a parent process and what runs in them: collecting them would close what the parent listens on, and warn
of coroutines that are not awaited here.
"""


class BackgroundLoop:
    """One loop, started when the first job comes and kept until it is stopped: what callbacks open belongs to it.

    A finalizer may submit in the middle of anything that its own thread is doing, so nothing here takes a lock.
    """

    _worker: Worker

    def __init__(self) -> None:
        self._new()

    def submit(self, job: Job) -> None:
        """Run this as a task of the loop, in the job's own context. Does not wait."""
        self._waiting.append(job)
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(self._take)
                return
        if not self._worker.wake():
            while self._waiting:
                self._waiting.popleft().drop("the interpreter is ending")

    def stop(self, timeout_s: float) -> None:
        """Cancel what runs and end the thread; wait for that at most so long. A later job begins anew."""
        loop, stopped = self._loop, self._stopped
        if loop is None or stopped is None:
            return
        try:
            loop.call_soon_threadsafe(stopped.set)
        except RuntimeError:  # it has just been closed
            return
        worker = self._worker
        self._worker = self._make_worker()
        worker.stop(timeout_s)

    def restart_in_child(self, jobs: set[Job]) -> None:
        """Leave the thread and all the jobs to the parent."""
        if self._loop is not None or jobs:
            _inherited.append((self._loop, jobs))
        self._new()

    def _new(self) -> None:
        self._waiting: deque[Job] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._worker = self._make_worker()

    def _make_worker(self) -> Worker:
        return Worker(self._run, "costscope-callbacks")

    def _run(self) -> None:
        if not self._waiting:
            return
        try:
            asyncio.run(self._serve())
        finally:
            self._loop = self._stopped = None
            if self._waiting:  # submitted while the loop was ending
                self._worker.wake()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._take()
        await self._stopped.wait()

    def _take(self) -> None:
        while self._waiting and self._stopped is not None and not self._stopped.is_set():
            self._waiting.popleft().start(asyncio.get_running_loop())


_DEPTH_MAX: Final = 4
"""Callbacks may make metered calls, whose events go to other callbacks, and so on: so often."""

_running: ContextVar[tuple[object, ...]] = ContextVar("costscope_callbacks_running", default=())
"""The callbacks this context is in. None of them hears of what it causes itself."""


class Calling:
    """The callbacks of one stream that are under way."""

    def __init__(self) -> None:
        self.background = BackgroundLoop()
        self._jobs: set[Job] = set()

    def __len__(self) -> int:
        """Async callbacks that have not ended."""
        return len(self._jobs)

    def call(self, callback: Callback[object], event: Event) -> None:
        """Tell it of the event, unless it is told of what it has caused itself."""
        running, call = _running.get(), current_call()
        if callback in running or len(running) >= _DEPTH_MAX:
            return
        _running.set((*running, callback))
        set_current_call(None)  # what a callback calls is no part of the call it is told of
        try:
            result = callback(event)
            if isinstance(result, Awaitable):
                self._await(result, f"{name_of(callback)} of {kind_of(event)!r}")
        finally:
            set_current_call(call)
            _running.set(running)

    def _await(self, awaitable: Awaitable[object], what: str) -> None:
        job = Job(awaitable, what, ended=self._jobs.discard)
        self._jobs.add(job)
        loop = _running_loop()
        if loop is None:
            self.background.submit(job)
        else:
            job.start(loop)

    def drain(self, deadline_s: float) -> bool:
        """Wait until no async callback runs that could be waited for here; False if some do by then.

        Args:
            deadline_s: by the monotonic clock.
        """
        here = _running_loop()
        while waiting := [job for job in tuple(self._jobs) if here is None or job.loop is not here]:
            for job in waiting:
                if job.loop is not None and job.loop.is_closed():
                    job.drop("its event loop was closed")
                if not job.done.wait(max(0.0, deadline_s - time.monotonic())):
                    return False
        return True

    def restart_in_child(self) -> None:
        """Start without the parent's async callbacks after a fork."""
        self.background.restart_in_child(self._jobs)
        self._jobs = set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def name_of(listener: object) -> str:
    """Return what the log calls it."""
    while isinstance(listener, partial):
        listener = listener.args[0] if listener.args else listener.func
    return getattr(listener, "__qualname__", None) or type(listener).__qualname__
