"""One async callback at work: on the loop of whoever emitted, or on the one in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Coroutine
from contextlib import suppress
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
