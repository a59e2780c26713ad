"""An event loop on a daemon thread, for async callbacks of events that come from where no loop runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from costscope.ambient import in_empty_context
from costscope.events.lifetime import begins

if TYPE_CHECKING:
    from costscope.events.jobs import Job

__all__ = ["BackgroundLoop"]

log = logging.getLogger("costscope.events")

_inherited: Final[list[object]] = []
"""Loops of a parent process and what runs in them: collecting them would close what the parent listens on, and warn
of coroutines that nobody awaits here.
"""


class BackgroundLoop:
    """One loop, started when the first job comes and kept until it is stopped: what callbacks open belongs to it.

    A finalizer may submit in the middle of anything that its own thread is doing, so nothing here takes a lock.
    """

    def __init__(self) -> None:
        self._new()

    def submit(self, job: Job) -> None:
        """Run this as a task of the loop, in the job's own context. Does not wait."""
        self._waiting.append(job)
        loop = self._loop
        if loop is None:
            self._start()
            return
        try:
            loop.call_soon_threadsafe(self._take)
        except RuntimeError:  # it has just been closed
            self._start()

    def stop(self, timeout_s: float) -> None:
        """Cancel what runs and end the thread; wait for that at most so long."""
        thread, loop, stopped = self._thread, self._loop, self._stopped
        if thread is None or loop is None or stopped is None:
            return
        try:
            loop.call_soon_threadsafe(stopped.set)
        except RuntimeError:
            return
        if thread is not threading.current_thread():
            thread.join(timeout_s)

    def restart_in_child(self, jobs: set[Job]) -> None:
        """The thread has stayed in the parent, and so do all the jobs."""
        if self._loop is not None or jobs:
            _inherited.append((self._loop, jobs))
        self._new()

    def _new(self) -> None:
        self._waiting: deque[Job] = deque()
        self._serving = threading.Lock()  # of the one thread that serves
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        if self._serving.locked():
            return  # it looks again before it ends
        begins()
        thread = threading.Thread(target=in_empty_context(self._run), name="costscope-callbacks", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no new threads while the interpreter ends
            while self._waiting:
                self._waiting.popleft().drop("the interpreter is ending")

    def _run(self) -> None:
        # Two may be started at once; the second one finds the first serving, and ends.
        if not self._serving.acquire(blocking=False):
            return
        try:
            self._thread = threading.current_thread()
            asyncio.run(self._serve())
        finally:
            self._loop = self._stopped = self._thread = None
            self._serving.release()
        if self._waiting:  # submitted while this thread was ending
            self._start()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._take()
        await self._stopped.wait()

    def _take(self) -> None:
        while self._waiting and self._stopped is not None and not self._stopped.is_set():
            self._waiting.popleft().start(asyncio.get_running_loop())
