"""Calling the callbacks of events: plain ones at once, async ones as tasks that can be waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final

from costscope.ambient import ambient_call, set_ambient_call
from costscope.events.background import BackgroundLoop
from costscope.events.jobs import Job
from costscope.events.records import kind_of

if TYPE_CHECKING:
    from costscope.events.callbacks import Callback
    from costscope.events.records import Event

__all__ = ["Calling", "name_of"]

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
        running, call = _running.get(), ambient_call()
        if callback in running or len(running) >= _DEPTH_MAX:
            return
        _running.set((*running, callback))
        set_ambient_call(None)  # what a callback calls is no part of the call it is told of
        try:
            result = callback(event)
            if isinstance(result, Awaitable):
                self._await(result, f"{name_of(callback)} of {kind_of(event)!r}")
        finally:
            set_ambient_call(call)
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
    """What the log calls it."""
    while isinstance(listener, partial):
        listener = listener.args[0] if listener.args else listener.func
    return getattr(listener, "__qualname__", None) or type(listener).__qualname__
