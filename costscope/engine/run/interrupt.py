"""Ending the task that a run is, wherever it waits, when the run is halted from outside or its time is over."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from costscope.engine.state.run import Run
    from costscope.errors import RunHalted


class Interrupt:
    """From entering a run with `async with` to leaving it. A run in a thread is stopped at its next call instead."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    @classmethod
    async def of(cls, run: Run) -> Self | None:
        """From now on the task can be ended; None where there is no task."""
        try:
            if asyncio.current_task() is None:
                return None
        except RuntimeError:  # no loop: the coroutine is stepped by hand
            return None
        interrupt = cls(run)
        await interrupt._timeout.__aenter__()
        run.interrupts(interrupt._from_any_thread)
        return interrupt

    async def end(self, error: BaseException | None) -> RunHalted | None:
        """From now on it cannot. What is to be raised instead of the cancellation that this has caused."""
        run = self._run
        run.interrupts(None)
        try:
            await self._timeout.__aexit__(type(error) if error is not None else None, error, None)
        except TimeoutError:
            run.halt(run.ends_why)
            return run.halted_error()
        return None

    def _from_any_thread(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._reschedule)

    def _reschedule(self) -> None:
        run, at_s = self._run, None
        if run.cut_short:
            at_s = self._loop.time()
        elif run.ends_ms:
            at_s = self._loop.time() + max(run.ends_ms - run.services.now_ms(), 0) / 1000
        with suppress(RuntimeError):  # it has ended meanwhile
            self._timeout.reschedule(at_s)
