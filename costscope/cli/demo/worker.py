"""A worker process of the demo: `python -m costscope.cli.demo.worker`, fed through its standard input.

It reads a `Job` as one line of JSON, says that it is ready, waits for another line, and runs its agents. While
they run it writes a `Report` a few times a second, so that the parent knows how far it came when it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.cli.demo.agents import run_agents
from costscope.cli.demo.heard import Crossing, crossing_of
from costscope.cli.demo.rules import policy_of
from costscope.cli.demo.scenario import Scenario
from costscope.cli.demo.timing import TimedStore
from costscope.cli.trace import load_trace
from costscope.scope.default_runtime import set_runtime
from costscope.scope.runtime import Runtime
from costscope.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores import Store

__all__ = ["Job", "Report", "work"]

REPORT_S: Final = 0.2


class Job(msgspec.Struct, frozen=True):
    """What a worker is told."""

    scenario: Scenario
    process: int
    store_url: str
    provider_port: int


class Report(msgspec.Struct, frozen=True):
    """What a worker did since its last report; the first one says that it is ready, the last that it ends."""

    pairs_us: list[int] = []
    """Of each call, the microseconds of reserve plus commit."""
    denials: dict[str, int] = {}
    thresholds: list[Crossing] = []
    """Which this process's callback was told of."""
    last: bool = False


async def work(job: Job, store: Store, send: Callable[[Report], None]) -> None:
    """Run the agents of one process, reporting all the while.

    Args:
        job: which process of which scenario.
        store: where the books are; not closed.
        send: takes the reports.

    Raises:
        ExceptionGroup: an agent failed; a refusal is no failure.
    """
    timed = TimedStore(store)
    scenario = job.scenario
    denials: Counter[str] = Counter()
    thresholds: list[Crossing] = []

    def report(*, last: bool = False) -> None:
        counted, told = dict(denials), list(thresholds)
        denials.clear()
        thresholds.clear()
        send(Report(timed.take_pairs(), counted, told, last=last))

    async def keep_reporting() -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            report()

    runtime = set_runtime(
        Runtime(
            store=timed,
            policy=policy_of(scenario),
            lease_s=scenario.lease_s,
            slot_lease_s=scenario.slot_lease_s,
        )
    )
    runtime.events.on("threshold", lambda event: thresholds.append(crossing_of(event)))
    reporting = asyncio.create_task(keep_reporting())
    try:
        await run_agents(scenario, job.process, job.provider_port, denials)
    finally:
        reporting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reporting
        await runtime.aclose()
    report(last=True)


def _send(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


async def _run(job: Job, store: Store) -> None:
    try:
        await work(job, store, _send)
    finally:
        await store.aclose()


def _first(error: Exception) -> Exception:
    """The first of the exceptions that a group of groups is about."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> None:
    """Do the job that standard input names."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    store = open_store(job.store_url)
    load_trace()
    _send(Report())
    if sys.stdin.buffer.readline():  # else the parent is gone
        try:
            asyncio.run(_run(job, store))
        except ExceptionGroup as group:  # one line for the parent to show
            sys.exit(str(_first(group)))


if __name__ == "__main__":
    main()
