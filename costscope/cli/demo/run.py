"""The course of a demo: provider, workers, the kill, the wait for lost holds, the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from costscope.cli.demo.conclusion import conclude
from costscope.cli.demo.ledger import await_settled, read_books
from costscope.cli.demo.outcome import Outcome
from costscope.cli.demo.progress import Progress
from costscope.cli.demo.provider import Provider
from costscope.cli.demo.worker import Job, work
from costscope.cli.demo.workers import Worker
from costscope.errors import StoreUnavailable
from costscope.observe.events import decode_event
from costscope.observe.reports.as_json import format_count
from costscope.scope.runtime import Runtime
from costscope.stores.coordination import Published, ReadEvents

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.cli.demo.result import DemoResult
    from costscope.cli.demo.scenario import Scenario
    from costscope.ledger import AuditReport
    from costscope.stores import Store

__all__ = ["run_demo"]

_LOOK_S: Final = 0.25
_LISTEN_S: Final = 0.1
_RECENT: Final = 2000
"""Records at a time: all that the stream may keep."""
_GATHER_S: Final = 0.5
"""How long the victim is left with calls that get no answer: all its agents come to one, or wait for a place, and what
its runs did before is told. Well below the lease, so that it loses no hold by waiting."""


async def run_demo(
    scenario: Scenario, store: Store, store_url: str, show: Callable[[Progress], None]
) -> DemoResult:
    """Run a demo to its end.

    Args:
        scenario: what happens.
        store: the books, empty so far; not closed.
        store_url: where workers find them; memory is used by this process alone.
        show: called with the progress a few times a second.

    Raises:
        WorkerFailed: a worker ended with an error.
        StoreUnavailable: the books could not be read at the end.
    """
    # halted and abandoned runs are warnings in a log, and here what is to be shown
    logging.getLogger("costscope.events").addHandler(logging.NullHandler())
    # a runtime without calls: whoever looks into the books finds abandoned runs, and tells of them
    with contextlib.closing(Runtime(store=store)) as looker:
        return await _watched(scenario, store, store_url, show, looker)


async def _watched(
    scenario: Scenario, store: Store, store_url: str, show: Callable[[Progress], None], looker: Runtime
) -> DemoResult:
    async with Provider(silent_for=scenario.victim, silent_from=scenario.silent_from) as provider:
        progress = Progress(scenario, provider.billed)
        watching = [
            asyncio.create_task(_keep_looking(progress, store, show)),
            asyncio.create_task(_keep_listening(progress, store)),
        ]
        try:
            if store.waits:
                killed = await _in_workers(scenario, store_url, provider, progress)
            else:
                killed = await _in_this_process(scenario, store, provider, progress)
            progress.end()
            await _wait_for_lost_holds(store, progress)
            snapshot = await await_settled(store, scenario.lease_s)
            audit = await asyncio.to_thread(store.audit)
            await looker.events.adrain()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        await _listen(progress, store)
        progress.look(read_books(scenario, snapshot))
        show(progress)
        return conclude(_outcome(progress, provider, store.url, audit, killed))


def _outcome(progress: Progress, provider: Provider, url: str, audit: AuditReport, killed: int) -> Outcome:
    return Outcome(
        scenario=progress.scenario,
        store=url,
        books=progress.books,
        audit=audit,
        billed=provider.billed,
        calls=provider.calls,
        requests=provider.requests,
        served_instead=provider.instead,
        saved=provider.saved,
        unanswered_calls=provider.unanswered if killed else 0,
        killed_processes=killed,
        heard=progress.heard,
        told=progress.told,
        most_taken=progress.most_taken,
        most_served=provider.most_at_once,
        denials=progress.denials,
        pairs_us=progress.pairs_us,
        seconds=progress.seconds,
    )


async def _in_this_process(scenario: Scenario, store: Store, provider: Provider, progress: Progress) -> int:
    progress.alive = 1
    progress.happened(f"{scenario.tasks} agents in this process")
    progress.start()
    await work(Job(scenario, 0, store.url, provider.port), store, progress.take)
    progress.alive = 0
    return 0


async def _in_workers(scenario: Scenario, store_url: str, provider: Provider, progress: Progress) -> int:
    async with AsyncExitStack() as stack:
        jobs = [Job(scenario, number, store_url, provider.port) for number in range(scenario.processes)]
        workers = [await stack.enter_async_context(Worker(job)) for job in jobs]
        progress.happened(f"starting {scenario.processes} workers of {scenario.tasks} agents each")
        await asyncio.gather(*[worker.ready() for worker in workers])
        progress.alive = len(workers)
        progress.happened("all agents start")
        progress.start()
        killing: asyncio.Task[None] | None = None
        if scenario.victim is not None:
            killing = asyncio.create_task(_kill(workers[scenario.victim], scenario, provider, progress))
        await asyncio.gather(*[_follow(worker, progress) for worker in workers])
        if killing is not None:
            killing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killing
        return sum(worker.killed for worker in workers)


async def _follow(worker: Worker, progress: Progress) -> None:
    await worker.run(progress.take)
    progress.alive -= 1


async def _kill(worker: Worker, scenario: Scenario, provider: Provider, progress: Progress) -> None:
    """SIGKILL the victim once it has calls in flight that were billed and will never be answered."""
    await provider.left_unanswered(1)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GATHER_S):
            await provider.left_unanswered(scenario.tasks)
    if worker.kill():
        calls = format_count(provider.unanswered, "billed call")
        progress.happened(f"worker {worker.number} killed (SIGKILL) with {calls} in flight")


async def _wait_for_lost_holds(store: Store, progress: Progress) -> None:
    snapshot = await asyncio.to_thread(store.snapshot)
    if snapshot.holds:
        lease = progress.scenario.lease_s
        lost = format_count(len(snapshot.holds), "lost hold")
        progress.happened(f"agents done; {lost} until the lease of {lease:g} s ends")


async def _keep_looking(progress: Progress, store: Store, show: Callable[[Progress], None]) -> None:
    while True:
        with contextlib.suppress(StoreUnavailable):  # a busy machine: the next look will do
            progress.look(read_books(progress.scenario, await asyncio.to_thread(store.snapshot)))
        show(progress)
        await asyncio.sleep(_LOOK_S)


async def _keep_listening(progress: Progress, store: Store) -> None:
    while True:
        with contextlib.suppress(StoreUnavailable):
            await _listen(progress, store)
        await asyncio.sleep(_LISTEN_S)


async def _listen(progress: Progress, store: Store) -> None:
    """Take what the stream of events has got since the last time."""
    while True:
        (found,) = await asyncio.to_thread(store.tell, [ReadEvents(_RECENT, progress.place)])
        assert isinstance(found, list), "the answer to Recent"
        if not found:
            return
        for published in found:
            assert isinstance(published, Published), "as above"
            progress.place = published.place
            for line in progress.heard.take(decode_event(published.record)):
                progress.happened(line)
