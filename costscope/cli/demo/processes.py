"""The demo's worker processes: what each is told, what it does, and how their parent starts, hears and kills them.

`python -m costscope.cli.demo.processes` is one. It says that it is ready, reads a `Job` as one line of JSON, and runs
its agents. While they run it writes a `Report` a few times a second, so that the parent knows how far it came when it
is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from costscope.cli.demo.agents import Agent
from costscope.cli.demo.progress import Report, crossing_of
from costscope.cli.demo.scenario import Scenario, policy_of
from costscope.errors import CostscopeError
from costscope.ledger import Commit, Reserve
from costscope.scope.default_runtime import set_runtime
from costscope.scope.runtime import Runtime
from costscope.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.ledger import Command, Reply
    from costscope.stores import Store

_REPORT_S: Final = 0.2
_LINE_MAX: Final = 16 * 2**20
_CALLS: Final = frozenset({"model_calls", "tool_calls"})  # what the hold of a call counts, and of a run not


class WorkerFailed(CostscopeError):
    """A worker of the demo ended with an error of its own."""


class Job(msgspec.Struct, frozen=True):
    """What a worker is told."""

    scenario: Scenario
    process: int
    store_url: str
    provider_port: int


class TimedStore:
    """A store that notes, for each metered call, the microseconds of its reserve plus those of its commit.

    Both are measured around `aexecute`: from handing the command over until the reply is back in the caller's
    task, waiting for a shared batch and for the event loop included, the provider's time left out.
    """

    def __init__(self, store: Store, pairs_us: list[int]) -> None:
        self._store = store
        self._pairs_us = pairs_us
        self._reserved_ns: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:  # everything else is the store's
        return getattr(self._store, name)

    async def aexecute(self, commands: Sequence[Command]) -> list[Reply]:
        """Apply a batch, timed."""
        started = perf_counter_ns()
        replies = await self._store.aexecute(commands)
        took = perf_counter_ns() - started
        for command in commands:
            if isinstance(command, Reserve) and not _CALLS.isdisjoint(command.amounts):
                self._reserved_ns[command.id] = took
            elif isinstance(command, Commit) and (reserve_ns := self._reserved_ns.pop(command.id, 0)):
                self._pairs_us.append((reserve_ns + took) // 1000)
        return replies


async def work(job: Job, store: Store, send: Callable[[Report], None]) -> None:
    """Run the agents of one process; `send` takes the reports all the while, and must copy what it keeps."""
    scenario, made = job.scenario, Report()

    def report(*, last: bool = False) -> None:
        send(msgspec.structs.replace(made, last=last))
        for told in (made.pairs_us, made.denials, made.crossings):
            told.clear()

    async def keep_reporting() -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            report()

    timed = cast("Store", TimedStore(store, made.pairs_us))
    policy, lease_s = policy_of(scenario), scenario.lease_s
    # the places of a killed worker's runs stay taken a little longer than its holds
    async with Runtime(store=timed, policy=policy, lease_s=lease_s, slot_lease_s=lease_s + 2) as runtime:
        set_runtime(runtime).events.on("threshold", lambda event: made.crossings.append(crossing_of(event)))
        reporting = asyncio.create_task(keep_reporting())
        try:
            async with asyncio.TaskGroup() as agents:
                for path in scenario.agents[job.process * scenario.tasks :][: scenario.tasks]:
                    agent = Agent(scenario, job.process, path, made.denials)
                    agents.create_task(agent.work(job.provider_port))
        finally:
            reporting.cancel()
    report(last=True)


class Worker:
    """A worker process as its parent sees it."""

    def __init__(self, job: Job) -> None:
        self.killed = False
        self.job = job

    async def run(self, start: asyncio.Barrier, take: Callable[[Report], None]) -> None:
        """Start it, and when all are ready tell it its job; pass on its reports until it has ended.

        Raises:
            WorkerFailed: it ended with an error, or without a last report although it was not killed.
        """
        # -P: the folder we stand in is not a place to import from. A session of its own: Ctrl-C reaches the
        # parent alone, which then ends its workers in order.
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "costscope.cli.demo.processes"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_MAX,
            start_new_session=True,
        )
        try:
            report = await self._hear()
            await start.wait()
            assert process.stdin is not None, "it is a pipe"
            process.stdin.write(msgspec.json.encode(self.job) + b"\n")
            while not report.last:
                report = await self._hear()
                take(report)
        except BaseException:
            self.kill()
            raise
        finally:
            await process.wait()

    def kill(self) -> bool:
        """SIGKILL it; False if it has ended already."""
        # not `Process.kill`: it polls, and takes the exit code away from asyncio's own watcher
        if self._process.returncode is None:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        return self.killed

    async def _hear(self) -> Report:
        assert self._process.stdout is not None, "it is a pipe"
        line = await self._process.stdout.readline()
        if line.endswith(b"\n"):  # else it is the end, perhaps in the middle of a line
            report = msgspec.json.decode(line, type=Report)
        else:
            code = await self._process.wait()
            report = Report(last=True, error="" if self.killed else f"it left with code {code}")
        if report.error:
            msg = f"worker {self.job.process + 1} of the demo ended: {report.error}"
            raise WorkerFailed(msg)
        return report


def main() -> None:
    """Do the job that standard input names."""
    logging.getLogger("costscope.events").addHandler(logging.NullHandler())  # the parent tells of them
    _write(Report())
    if line := sys.stdin.buffer.readline():  # else the parent is gone
        try:
            asyncio.run(_work(msgspec.json.decode(line, type=Job)))
        except (CostscopeError, ExceptionGroup) as failed:
            error: Exception = failed
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            _write(Report(error=str(error) or repr(error)))  # one line, of the first that failed


async def _work(job: Job) -> None:
    async with contextlib.aclosing(open_store(job.store_url)) as store:
        await work(job, store, _write)


def _write(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
