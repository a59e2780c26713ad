"""The course of a demo: provider, workers, the kill, the wait for lost holds, the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.cli.demo.agents import Job, first_failure, work
from costscope.cli.demo.progress import Progress, Report, read_books
from costscope.cli.demo.provider import Provider
from costscope.cli.demo.verdict import Verdict
from costscope.errors import CostscopeError, StoreUnavailable
from costscope.observe.events.reader import EventReader
from costscope.observe.reports.as_json import format_count
from costscope.scope.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.cli.demo.scenario import Scenario
    from costscope.stores import Store

_LOOK_S: Final = 0.2
_RECENT: Final = 2000  # records at a time: all that the stream may keep
_GATHER_S: Final = 0.5
"""How long the victim is left with calls that get no answer: all its agents come to one, or wait for a place, and what
its runs did before is told. Well below the lease, so that it loses no hold by waiting."""
_POLL_S: Final = 0.1
_GRACE_S: Final = 10.0  # beyond the lease: a machine that is busy may take its time
_LINE_MAX: Final = 16 * 2**20


class WorkerFailed(CostscopeError):
    """A worker of the demo ended with an error of its own."""


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
            *(sys.executable, "-P", "-m", "costscope.cli.demo.agents"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_MAX,
            start_new_session=True,
        )
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "as above"
        report = Report()
        try:
            while (line := await process.stdout.readline()).endswith(
                b"\n"
            ):  # else its end, perhaps within a line
                report = msgspec.json.decode(line, type=Report)
                if report.ready:
                    await start.wait()
                    process.stdin.write(msgspec.json.encode(self.job) + b"\n")
                take(report)
        except BaseException:
            self.kill()
            raise
        finally:
            code = await process.wait()
        if report.error or not (report.last or self.killed):
            msg = f"worker {self.job.process + 1} of the demo ended: {report.error or f'it left with code {code}'}"
            raise WorkerFailed(msg)

    def kill(self) -> bool:
        """SIGKILL it; False if it has ended already."""
        # not `Process.kill`: it polls, and takes the exit code away from asyncio's own watcher
        if self._process.returncode is None:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        return self.killed


async def run_demo(
    scenario: Scenario, store: Store, store_url: str, show: Callable[[Progress], None]
) -> Verdict:
    """Run a demo to its end.

    Args:
        scenario: what happens.
        store: the books, empty so far; not closed.
        store_url: where workers find them; memory is used by this process alone.
        show: called with the progress a few times a second.
    """
    # halted and abandoned runs are warnings in a log, and here what is to be shown
    logging.getLogger("costscope.events").addHandler(logging.NullHandler())
    events = EventReader()

    async def look() -> None:
        """Take what the stream of events has got since the last time, and what the books say now."""
        for event in await asyncio.to_thread(events.read, store, _RECENT):
            progress.hear(event)
        progress.look(*read_books(scenario, await asyncio.to_thread(store.snapshot)))

    async def keep_looking() -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):  # a busy machine: the next look will do
                await look()
            show(progress)
            await asyncio.sleep(_LOOK_S)

    # a runtime without calls: a look into the books finds abandoned runs, and it tells of them
    with contextlib.closing(Runtime(store=store)) as looker:
        async with Provider(silent_for=scenario.victim, silent_from=scenario.calls // 4) as provider:
            progress = Progress(scenario, provider)
            try:
                async with asyncio.TaskGroup() as group:
                    looking = group.create_task(keep_looking())
                    await _run_agents(progress, store, store_url)
                    progress.ended_s = time.monotonic()
                    await _await_lost_holds(progress, store)
                    audit = await asyncio.to_thread(store.audit)
                    await looker.events.adrain()
                    looking.cancel()
            except ExceptionGroup as failed:
                raise first_failure(failed) from None
            await look()
            show(progress)
            return Verdict(progress, store.url, audit)


async def _run_agents(progress: Progress, store: Store, store_url: str) -> None:
    scenario, port = progress.scenario, progress.provider.port
    jobs = [Job(scenario, number, store_url, port) for number in range(scenario.processes)]
    if not store.waits:
        progress.start(f"{scenario.tasks} agents in this process", alive=1)
        await work(jobs[0], store, progress.take)
        return
    progress.note(f"starting {len(jobs)} workers of {scenario.tasks} agents each")
    workers = [Worker(job) for job in jobs]
    all_ready = asyncio.Barrier(len(workers) + 1)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(worker.run(all_ready, progress.take)) for worker in workers]
        await all_ready.wait()
        progress.start("all agents start", alive=len(workers))
        killing = group.create_task(_kill(workers[scenario.victim or 0], progress))
        await asyncio.wait(running)
        killing.cancel()


async def _kill(worker: Worker, progress: Progress) -> None:
    """SIGKILL the victim once it has calls in flight that were billed and will never be answered."""
    await progress.provider.silenced.wait()  # never, without a victim
    await asyncio.sleep(_GATHER_S)
    if worker.kill():
        progress.killed += 1
        progress.alive -= 1
        calls = format_count(progress.provider.unanswered, "billed call")
        progress.note(f"worker {worker.job.process + 1} killed (SIGKILL) with {calls} in flight")


async def _await_lost_holds(progress: Progress, store: Store) -> None:
    """Wait until no hold is live: each was settled by its owner, or presumed by a look after its lease."""
    lease_s = progress.scenario.lease_s
    deadline_s = time.monotonic() + lease_s + _GRACE_S
    while holds := (await asyncio.to_thread(store.snapshot)).holds:
        lost = format_count(len(holds), "lost hold")
        progress.note(f"agents done; {lost} until the lease of {lease_s:g} s ends", once="lost")
        if time.monotonic() > deadline_s:
            msg = f"{len(holds)} holds are still live long after their lease of {lease_s} s"
            raise StoreUnavailable(msg)
        await asyncio.sleep(_POLL_S)
