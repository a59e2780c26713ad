"""One async callback at work: on the loop of whoever emitted, or on the one in the background."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

__all__ = ["Job"]

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
        self._elsewhere: Callable[[Job], object] | None = None
        self._begun = False
        self._context = copy_context()
        self._task: asyncio.Task[None] | None = None

    def start(
        self, loop: asyncio.AbstractEventLoop, *, elsewhere: Callable[[Job], object] | None = None
    ) -> None:
        """Make it a task of this loop, which runs in this thread.

        Args:
            loop: the loop.
            elsewhere: takes the job over when this loop ends before the job has begun.
        """
        self.loop = loop
        self._elsewhere = elsewhere
        self._task = self._context.run(loop.create_task, self._run())
        self._task.add_done_callback(self._finish)

    def leave(self, why: str) -> None:
        """Its loop ends: it goes elsewhere if it has not begun, and is given up otherwise."""
        self.loop = self._task = None
        if self._begun or self._elsewhere is None:
            self.drop(why)
        else:
            elsewhere, self._elsewhere = self._elsewhere, None
            elsewhere(self)

    def drop(self, why: str) -> None:
        """Give it up: its coroutine ends without a warning of Python's, and the log says so."""
        close = getattr(self._awaitable, "close", None)
        if close is not None:
            close()
        log.warning("%s was not run to its end: %s", self._what, why)
        self._end()

    async def _run(self) -> None:
        self._begun = True
        try:
            await self._awaitable
        except Exception:
            log.exception("%s failed", self._what)

    def _finish(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            if (error := task.exception()) is not None:  # a KeyboardInterrupt, which has ended the loop
                log.error("%s was interrupted: %r", self._what, error)
            self._end()
        else:
            # `asyncio.run` cancels what is left when its main coroutine ends, perhaps right after the event.
            self.leave("its task was cancelled")

    def _end(self) -> None:
        self._ended(self)
        self.done.set()
