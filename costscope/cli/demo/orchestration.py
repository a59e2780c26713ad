"""The course of a demo: provider, workers, the kill, the wait for lost holds, the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from costscope.cli.demo.processes import Job, Worker, work
from costscope.cli.demo.progress import Progress, read_books
from costscope.cli.demo.provider import Provider
from costscope.cli.demo.verdict import Verdict
from costscope.errors import StoreUnavailable
from costscope.observe.events.records import decode_event
from costscope.observe.reports.as_json import format_count
from costscope.scope.runtime import Runtime
from costscope.stores.coordination.operations import Published, ReadEvents

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
    # a runtime without calls: a look into the books finds abandoned runs, and it tells of them
    with contextlib.closing(Runtime(store=store)) as looker:
        async with Provider(silent_for=scenario.victim, silent_from=scenario.calls // 4) as provider:
            progress = Progress(scenario, provider)
            watching = asyncio.create_task(_keep_watching(progress, store, show))
            try:
                await _run_agents(progress, store, store_url)
                progress.ended_s = time.monotonic()
                await _await_lost_holds(progress, store)
                audit = await asyncio.to_thread(store.audit)
                await looker.events.adrain()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await _watch(progress, store)
            show(progress)
            return Verdict(progress, store.url, audit)


async def _keep_watching(progress: Progress, store: Store, show: Callable[[Progress], None]) -> None:
    while True:
        with contextlib.suppress(StoreUnavailable):  # a busy machine: the next look will do
            await _watch(progress, store)
        show(progress)
        await asyncio.sleep(_LOOK_S)


async def _watch(progress: Progress, store: Store) -> None:
    """Take what the stream of events has got since the last time, and what the books say now."""
    while True:
        (found,) = await asyncio.to_thread(store.tell, [ReadEvents(_RECENT, progress.place)])
        assert isinstance(found, list), "the answer to ReadEvents"
        if not found:
            break
        for published in found:
            assert isinstance(published, Published), "as above"
            progress.place = published.place
            progress.hear(decode_event(published.record))
    progress.look(*read_books(progress.scenario, await asyncio.to_thread(store.snapshot)))


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
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(worker.run(all_ready, progress.take)) for worker in workers]
            await all_ready.wait()
            progress.start("all agents start", alive=len(workers))
            killing = group.create_task(_kill(workers[scenario.victim or 0], progress))
            await asyncio.wait(running)
            killing.cancel()
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _kill(worker: Worker, progress: Progress) -> None:
    """SIGKILL the victim once it has calls in flight that were billed and will never be answered."""
    provider = progress.provider
    await provider.silenced.acquire()  # never, without a victim
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GATHER_S):
            for _ in range(progress.scenario.tasks - 1):
                await provider.silenced.acquire()
    if worker.kill():
        progress.killed += 1
        calls = format_count(provider.unanswered, "billed call")
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
