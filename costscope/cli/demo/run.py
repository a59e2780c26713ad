"""The course of a demo: provider, workers, the kill, the wait for lost holds, the verdict."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from costscope.cli.amounts import counted
from costscope.cli.demo.ledger import await_settled, entries_of
from costscope.cli.demo.progress import Progress
from costscope.cli.demo.provider import Provider
from costscope.cli.demo.result import conclude
from costscope.cli.demo.worker import Job, work
from costscope.cli.demo.workers import Worker
from costscope.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.cli.demo.result import DemoResult
    from costscope.cli.demo.scenario import Scenario
    from costscope.stores import Store

__all__ = ["run_demo"]

_LOOK_S: Final = 0.25
_IN_FLIGHT: Final = 4
"""Calls the victim shall have in flight when it is killed, if it has so many agents left that make any."""
_GATHER_S: Final = 0.5
"""How long to wait for them: well below the lease, so that its living agents lose no hold by waiting."""


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
    async with Provider(silent_for=scenario.victim, silent_from=scenario.silent_from) as provider:
        progress = Progress(scenario, provider.billed)
        showing = asyncio.create_task(_keep_showing(progress, store, show))
        try:
            if store.waits:
                killed = await _in_workers(scenario, store_url, provider, progress)
            else:
                killed = await _in_this_process(scenario, store, provider, progress)
            progress.end()
            await _wait_for_lost_holds(store, progress)
            snapshot = await await_settled(store, scenario.lease_s)
            audit = await asyncio.to_thread(store.audit)
        finally:
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing
        progress.entries = entries_of(scenario, snapshot)
        return conclude(
            scenario,
            store=store.url,
            entries=progress.entries,
            billed=provider.billed,
            calls=provider.calls,
            denials=progress.denials,
            pairs_us=progress.pairs_us,
            seconds=progress.seconds,
            killed_processes=killed,
            unanswered_calls=provider.unanswered if killed else 0,
            audit=audit,
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
            await provider.left_unanswered(min(_IN_FLIGHT, scenario.tasks))
    if worker.kill():
        calls = counted(provider.unanswered, "billed call")
        progress.happened(f"worker {worker.number} killed (SIGKILL) with {calls} in flight")


async def _wait_for_lost_holds(store: Store, progress: Progress) -> None:
    snapshot = await asyncio.to_thread(store.snapshot)
    if snapshot.holds:
        lease = progress.scenario.lease_s
        lost = counted(len(snapshot.holds), "lost hold")
        progress.happened(f"agents done; {lost} until the lease of {lease:g} s ends")


async def _keep_showing(progress: Progress, store: Store, show: Callable[[Progress], None]) -> None:
    presumed = False
    while True:
        with contextlib.suppress(StoreUnavailable):  # a busy machine: the next look will do
            progress.entries = entries_of(progress.scenario, await asyncio.to_thread(store.snapshot))
        if not presumed and any(entry.presumed for entry in progress.entries.values()):
            presumed = True
            progress.happened("holds of the killed worker presumed spent")
        show(progress)
        await asyncio.sleep(_LOOK_S)
