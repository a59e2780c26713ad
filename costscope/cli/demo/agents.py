"""The agents of one process: loops of model and tool calls inside nested budget scopes.

`Agent` is what a user of costscope would write: decorated methods, scopes, runs with their turns, and
`BudgetExceeded` as a reason to try the cheaper model. `python -m costscope.cli.demo.agents` is a worker process: it
says that it is ready, reads a `Job` as one line of JSON, and runs its agents. While they run it writes a `Report` a
few times a second, so that its parent knows how far it came when it is killed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from contextlib import aclosing, asynccontextmanager, suppress
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

import costscope
from costscope.cli.demo.progress import Report, crossing_of
from costscope.cli.demo.provider import Answer, Request
from costscope.cli.demo.scenario import LARGE, SMALL, TOOLS, TURN_CALLS, Scenario, policy_of, run_of
from costscope.errors import CostscopeError
from costscope.ledger import Commit, Reserve
from costscope.scope.default_runtime import set_runtime
from costscope.stores import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from costscope.cli.demo.scenario import Path, Wild
    from costscope.ledger import Command, Reply
    from costscope.stores import Store

_TASTES: Final = {"research": (70, 15), "support": (25, 60)}
"""Of 100 calls of a workflow: to the large model, and to the small one; the others are to tools."""
_MAX_TOKENS: Final = 512
_QUESTION: Final = "def answer ( question ) : "  # that a run out of control asks again and again
_REFUSED_PAUSE_S: Final = 0.01  # an agent that was refused everything thinks it over for a moment
_NOT_ADMITTED_PAUSE_S: Final = 0.2  # after a refused run comes the next one, if there may be one
_OUTAGES_MAX: Final = 10  # in a row; then an agent gives up: after some five seconds
_REPORT_S: Final = 0.2
_CALLS: Final = frozenset({"model_calls", "tool_calls"})  # what the hold of a call counts, and of a run not


class TracedCall(NamedTuple):
    """The size of one request, in tokens of the service's own tokenizer."""

    context_tokens: int
    generated_tokens: int

    @property
    def prompt(self) -> str:
        """A text of as many tokens for the demo's provider."""
        return "def " * self.context_tokens


@lru_cache(maxsize=1)
def load_trace() -> tuple[TracedCall, ...]:
    """Read the sizes of real requests; README.md says where they are from."""
    _, *lines = (files(__package__) / "trace.csv").read_text(encoding="utf-8").splitlines()
    return tuple(TracedCall(*map(int, line.split(","))) for line in lines)


class Agent:
    """One agent and its connection to the provider."""

    def __init__(self, scenario: Scenario, process: int, path: Path, denials: dict[str, int]) -> None:
        self._scenario = scenario
        self._process = process
        self._path = path
        self._denials = denials
        self._random = random.Random(f"{scenario.seed}:{path}")  # noqa: S311 - which calls it makes is no secret
        self._billed_to = path
        self._attempt = 0  # which of its calls is being tried
        self._answered = False  # whether the store has admitted the run that is tried, or refused it
        self._outages = 0

    @asynccontextmanager
    async def connect(self, provider_port: int) -> AsyncIterator[None]:
        """Connect to the provider for the calls made in the block."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", provider_port)
        try:
            yield
        finally:
            self._writer.close()

    @costscope.metered_model
    async def ask_large(
        self, prompt: str, *, answer_tokens: int, model: str = LARGE, max_tokens: int = _MAX_TOKENS
    ) -> Answer:
        """Get a good answer; a route of the policy may send it to a cheaper model."""
        return await self._send(model, prompt, answer_tokens, max_tokens, asked=LARGE)

    @costscope.metered_model(SMALL, estimate="capped")
    async def ask_small(self, prompt: str, *, answer_tokens: int, max_tokens: int = _MAX_TOKENS) -> Answer:
        """Get a cheap answer, cut short where the budget is nearly gone."""
        return await self._send(SMALL, prompt, answer_tokens, max_tokens)

    @costscope.metered_tool("web_search", price=TOOLS["web_search"])
    async def _web_search(self, query: str) -> Answer:
        return await self._send("web_search", query)

    @costscope.metered_tool("run_code", price=TOOLS["run_code"])
    async def _run_code(self, code: str) -> Answer:
        return await self._send("run_code", code)

    @costscope.metered_tool("old_service", price=TOOLS["old_service"])
    async def _old_service(self) -> Answer:
        return await self._send("old_service")

    async def work(self, provider_port: int) -> None:
        """Make all its runs, until no more are admitted; each call pays for its run, agent, workflow and tenant."""
        tenant, workflow, name = self._path
        async with (
            self.connect(provider_port),
            costscope.budget_scope(tenant=tenant, workflow=workflow),
            costscope.budget_scope(agent=name),
        ):
            number = 0
            while number < self._scenario.runs and await self._try_run(number):
                number += self._answered

    async def _try_run(self, number: int) -> bool:
        """Make one run, or find out that it is not to be: False when none is admitted any more today."""
        self._answered = False
        try:
            await self._run(number)
        except (costscope.NotBilled, costscope.RunHalted):
            self._answered = True  # it has failed or had to be stopped: the next one may be luckier
        except costscope.StoreUnavailable as outage:
            self._count_denial(outage)  # a run without an answer is tried again
        except costscope.BudgetExceeded as refusal:
            self._answered = True
            await asyncio.sleep(_NOT_ADMITTED_PAUSE_S)
            return refusal.kind != "exhausted"
        return True

    async def _run(self, number: int) -> None:
        self._billed_to = path = run_of(self._path, number)
        wild, attempts = self._scenario.wild.get(path), iter(self._scenario.calls_of(number))
        async with costscope.budget_scope(run=path[-1]) as run:
            self._answered = True
            while turn := list(islice(attempts, TURN_CALLS)):
                async with run.iteration():
                    for self._attempt in turn:
                        await self._step(wild)

    async def _step(self, wild: Wild | None) -> None:
        """Make one call, or two where the first one is refused; how the run ends is not caught here."""
        try:
            if wild is None:
                await self._call()
            else:
                with suppress(costscope.NotBilled):  # it sees no error and no repetition
                    await (
                        self._old_service()
                        if wild == "failures"
                        else self.ask_small(_QUESTION, answer_tokens=1)
                    )
            self._outages = 0
        except costscope.CallDenied as refusal:
            self._count_denial(refusal)
            await asyncio.sleep(_REFUSED_PAUSE_S)

    def _count_denial(self, refusal: costscope.CallDenied) -> None:
        """Count it, or let it through: nothing more is to be tried in a halted run, or after a long outage."""
        if isinstance(refusal, costscope.RunHalted):
            raise refusal
        self._denials[refusal.kind] += 1
        self._outages += isinstance(refusal, costscope.StoreUnavailable)
        if self._outages >= _OUTAGES_MAX:
            raise refusal

    async def _call(self) -> None:
        large, small = _TASTES[self._path[1]]
        size = self._random.choice(load_trace())
        what = self._random.randrange(100)
        if what < large:
            try:
                await self.ask_large(size.prompt, answer_tokens=size.generated_tokens)
                return
            except costscope.StoreUnavailable:
                raise
            except costscope.CallDenied as refusal:  # the small one is asked instead
                self._count_denial(refusal)
        if what < large + small:
            await self.ask_small(size.prompt, answer_tokens=size.generated_tokens)
        elif what % 2:
            await self._web_search(f"budgets of agents, page {self._attempt}")
        else:
            await self._run_code(f"print({self._attempt} * 7)")

    async def _send(
        self, product: str, text: str = "", answer_tokens: int = 0, max_tokens: int = 0, asked: str = ""
    ) -> Answer:
        path, process = self._billed_to, self._process
        request = Request(path, product, process, self._attempt, text, max_tokens, answer_tokens, asked)
        self._writer.write(msgspec.json.encode(request) + b"\n")
        await self._writer.drain()
        line = await self._reader.readline()
        if not line:
            msg = "the provider closed the connection"
            raise ConnectionResetError(msg)
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error:
            raise costscope.NotBilled(answer.error)
        return answer


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

    timed = cast("Store", TimedStore(store, made.pairs_us))
    policy, lease_s = policy_of(scenario), scenario.lease_s
    paths = scenario.agents[job.process * scenario.tasks :][: scenario.tasks]
    agents = [Agent(scenario, job.process, path, made.denials) for path in paths]
    # the places of a killed worker's runs stay taken a little longer than its holds
    async with costscope.Runtime(
        store=timed, policy=policy, lease_s=lease_s, slot_lease_s=lease_s + 2
    ) as runtime:
        set_runtime(runtime).events.on("threshold", lambda event: made.crossings.append(crossing_of(event)))
        async with asyncio.TaskGroup() as group:
            working = {group.create_task(agent.work(job.provider_port)) for agent in agents}
            while working:
                _, working = await asyncio.wait(working, timeout=_REPORT_S)
                report()
    report(last=True)


def first_failure(failed: Exception) -> Exception:
    """Find the first error of those that ended groups of tasks."""
    while isinstance(failed, ExceptionGroup):
        failed = failed.exceptions[0]
    return failed


def main() -> None:
    """Do the job that standard input names."""
    logging.getLogger("costscope.events").addHandler(logging.NullHandler())  # the parent tells of them
    _write(Report(ready=True))
    if line := sys.stdin.buffer.readline():  # else the parent is gone
        try:
            asyncio.run(_work(msgspec.json.decode(line, type=Job)))
        except (CostscopeError, ExceptionGroup) as failed:
            error = first_failure(failed)
            _write(Report(error=str(error) or repr(error)))


async def _work(job: Job) -> None:
    async with aclosing(open_store(job.store_url)) as store:
        await work(job, store, _write)


def _write(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
