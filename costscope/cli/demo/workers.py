"""The demo's worker processes as their parent sees them: started, told to go, heard, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING, Final, Self

import msgspec

from costscope.cli.demo.worker import Report
from costscope.errors import CostscopeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.cli.demo.worker import Job

__all__ = ["Worker", "WorkerFailed"]

_LINE_MAX: Final = 16 * 2**20
_LAST_WORDS: Final = 5


class WorkerFailed(CostscopeError):
    """A worker of the demo ended with an error of its own."""


class Worker:
    """One process. Enter it to start it; leaving kills it if it still runs."""

    def __init__(self, job: Job) -> None:
        self.number = job.process + 1
        self.killed = False
        self._job = job
        self._process: asyncio.subprocess.Process | None = None
        self._complaints: deque[str] = deque(maxlen=_LAST_WORDS)
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        # -P: the folder we stand in is not a place to import from. A session of its own: Ctrl-C reaches the
        # parent alone, which then ends its workers in order.
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "costscope.cli.demo.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_MAX,
            start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen(process))
        await self._tell(msgspec.json.encode(self._job) + b"\n")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._process is not None, "entered before"
        assert self._listening is not None, "entered before"
        if kind is not None:
            self._end()
        await self._process.wait()
        await self._listening

    async def ready(self) -> None:
        """Wait until it has its store open and its agents waiting.

        Raises:
            WorkerFailed: it ended instead.
        """
        if await self._hear() is None:
            raise await self._failure()

    async def run(self, take: Callable[[Report], None]) -> None:
        """Tell it to go and pass on its reports until it has ended.

        Raises:
            WorkerFailed: it ended without a last report, and nobody had killed it.
        """
        await self._tell(b"go\n")
        last = False
        while (report := await self._hear()) is not None:
            take(report)
            last = report.last
        if not last and not self.killed:
            raise await self._failure()

    def kill(self) -> bool:
        """SIGKILL, wherever it is; False if it had ended already."""
        assert self._process is not None, "entered before"
        if self._process.returncode is not None:
            return False
        self.killed = True
        self._end()
        return True

    def _end(self) -> None:
        assert self._process is not None, "entered before"
        # not `kill()`: it polls, and takes the exit code away from asyncio's own watcher
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                os.kill(self._process.pid, signal.SIGKILL)

    async def _tell(self, line: bytes) -> None:
        assert self._process is not None, "entered before"
        assert self._process.stdin is not None, "it is a pipe"
        with contextlib.suppress(ConnectionError):  # it died; what it said about that is in `_failure`
            self._process.stdin.write(line)
            await self._process.stdin.drain()

    async def _hear(self) -> Report | None:
        assert self._process is not None, "entered before"
        assert self._process.stdout is not None, "it is a pipe"
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):  # the end, perhaps in the middle of a line
            return None
        return msgspec.json.decode(line, type=Report)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None, "it is a pipe"
        while line := await process.stderr.readline():
            self._complaints.append(line.decode(errors="replace").rstrip())

    async def _failure(self) -> WorkerFailed:
        assert self._process is not None, "entered before"
        assert self._listening is not None, "entered before"
        code = await self._process.wait()
        await self._listening
        said = self._complaints[-1] if self._complaints else "it said nothing"
        msg = f"worker {self.number} of the demo ended with code {code}: {said}"
        return WorkerFailed(msg)
