"""The agents of one process: loops of model and tool calls inside nested budget scopes.

Everything a user of costscope would write is here, and nothing a user would not: scopes, runs with their turns, five
decorated methods, and `BudgetExceeded` as a reason to try the cheaper model.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final

import msgspec

from costscope import (
    BudgetExceeded,
    CallDenied,
    NotBilled,
    RunHalted,
    StoreUnavailable,
    budget_scope,
    metered_model,
    metered_tool,
)
from costscope.cli.demo.provider import Answer, Request
from costscope.cli.demo.rules import LARGE, SMALL, TOOLS
from costscope.cli.demo.scenario import Path, Scenario, run_of
from costscope.cli.trace import load_trace

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator

    from costscope.cli.demo.scenario import Wild
    from costscope.cli.trace import TracedCall

__all__ = ["Agent", "prompt_of", "run_agents"]

_TASTES: Final = {"research": (70, 15, 15), "support": (25, 60, 15)}
"""Of 100 calls of a workflow: to the large model, to the small one, to a tool."""
_MAX_TOKENS: Final = 512
_REFUSED_PAUSE_S: Final = 0.01
"""An agent that was refused everything thinks it over for a moment."""
_NOT_ADMITTED_PAUSE_S: Final = 0.2
"""One whose run was refused for what others hold comes back with the next one."""
_OUTAGES_MAX: Final = 10
"""Calls in a row without an answer from the store after which an agent gives up: some five seconds."""

_WORDS: Final = (
    "def",
    "=",
    "self",
    "(",
    "return",
    "value",
    "if",
    "not",
    "None",
    ":",
    "for",
    "item",
    "in",
    "rows",
)
_WORDS_MAX: Final = 8192
_TEXT: Final = "".join(f"{_WORDS[at % len(_WORDS)]} " for at in range(_WORDS_MAX))
_ENDS: Final = tuple(accumulate(len(_WORDS[at % len(_WORDS)]) + 1 for at in range(_WORDS_MAX)))


class Agent:
    """One agent and its connection to the provider."""

    def __init__(self, scenario: Scenario, process: int, path: Path, denials: Counter[str]) -> None:
        self._scenario = scenario
        self._process = process
        self._path = path
        self._whom = path
        """Whom the provider is to bill: the run, when it is in one."""
        self._denials = denials
        self._random = random.Random(f"{scenario.seed}:{path}")  # noqa: S311 - which calls it makes is no secret
        self._attempt = 0
        self._outages = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def work(self, provider_port: int) -> None:
        """Make all its runs, one after the other, until no more are admitted today.

        Each call pays for its run, its agent, workflow and tenant.

        Raises:
            ConnectionError: the provider is gone.
            StoreUnavailable: the store is, for longer than a moment.
        """
        tenant, workflow, name = self._path
        async with (
            self.connected(provider_port),
            budget_scope(tenant=tenant, workflow=workflow),
            budget_scope(agent=name),
        ):
            for number in range(self._scenario.runs):
                try:
                    await self._run(number)
                except NotBilled:
                    pass  # the provider was out of order: this run has failed, the next one may be luckier
                except RunHalted:
                    pass  # somebody had to stop it
                except BudgetExceeded as refusal:
                    if refusal.kind == "exhausted":
                        break
                    await asyncio.sleep(_NOT_ADMITTED_PAUSE_S)

    @asynccontextmanager
    async def connected(self, provider_port: int) -> AsyncIterator[None]:
        """A connection to the provider for the calls made in the block."""
        self._streams = await asyncio.open_connection("127.0.0.1", provider_port)
        try:
            yield
        finally:
            self._streams[1].close()

    async def _run(self, number: int) -> None:
        scenario = self._scenario
        self._whom, attempts = run_of(self._path, number), iter(scenario.calls_of(number))
        wild = scenario.wild.get(self._whom)
        async with budget_scope(run=self._whom[-1]) as run:
            while turn := list(islice(attempts, scenario.turn_calls)):
                async with run.iteration():
                    for self._attempt in turn:
                        await self._step(wild)

    async def _step(self, wild: Wild | None) -> None:
        """One call, or two where the first one is refused.

        Raises:
            NotBilled: the provider did not answer it.
            RunHalted: the run was stopped.
            StoreUnavailable: the store is away for longer than a moment.
        """
        try:
            await (self._call() if wild is None else self._wild_call(wild))
            self._outages = 0
        except RunHalted:
            raise
        except StoreUnavailable as outage:
            self._denials[outage.kind] += 1
            self._outages += 1
            if self._outages == _OUTAGES_MAX:
                raise
        except CallDenied as refusal:
            self._denials[refusal.kind] += 1
            await asyncio.sleep(_REFUSED_PAUSE_S)

    async def _call(self) -> None:
        large, small, _ = _TASTES[self._path[1]]
        size = self._random.choice(load_trace())
        what = self._random.randrange(100)
        if what < large:
            await self._large_or_small(size)
        elif what < large + small:
            await self.ask_small(prompt_of(size), answer_tokens=size.generated_tokens)
        elif what % 2:
            await self.web_search(f"budgets of agents, page {self._attempt}")
        else:
            await self.run_code(f"print({self._attempt} * 7)")

    async def _wild_call(self, wild: Wild) -> None:
        """An agent that has lost its mind: it asks the same again, or does not see that a service is gone."""
        if wild == "repeats":
            await self.ask_small("def answer ( question ) : ", answer_tokens=1)
            return
        with suppress(NotBilled):
            await self.old_service()

    async def _large_or_small(self, size: TracedCall) -> None:
        try:
            await self.ask_large(prompt_of(size), answer_tokens=size.generated_tokens)
        except (RunHalted, StoreUnavailable):
            raise
        except CallDenied as refusal:
            self._denials[refusal.kind] += 1
            await self.ask_small(prompt_of(size), answer_tokens=size.generated_tokens)

    @metered_model
    async def ask_large(
        self, prompt: str, *, answer_tokens: int, model: str = LARGE, max_tokens: int = _MAX_TOKENS
    ) -> Answer:
        """A good answer; a route of the policy may send it to a cheaper model."""
        return await self._send(model, prompt, answer_tokens, max_tokens, asked=LARGE)

    @metered_model(SMALL, estimate="capped")
    async def ask_small(self, prompt: str, *, answer_tokens: int, max_tokens: int = _MAX_TOKENS) -> Answer:
        """A cheap answer, cut short where the budget is nearly gone."""
        return await self._send(SMALL, prompt, answer_tokens, max_tokens)

    @metered_tool("web_search", price=TOOLS["web_search"])
    async def web_search(self, query: str) -> Answer:
        """A tool with a price."""
        return await self._send("web_search", query)

    @metered_tool("run_code", price=TOOLS["run_code"])
    async def run_code(self, code: str) -> Answer:
        """Another one."""
        return await self._send("run_code", code)

    @metered_tool("old_service", price=TOOLS["old_service"])
    async def old_service(self) -> Answer:
        """One that has been switched off."""
        return await self._send("old_service", "")

    async def _send(
        self, product: str, text: str, answer_tokens: int = 0, max_tokens: int = 0, asked: str = ""
    ) -> Answer:
        assert self._streams is not None, "connected in `work`"
        reader, writer = self._streams
        body = text.encode()
        request = Request(
            self._whom,
            product,
            self._process,
            self._attempt,
            len(body),
            max_tokens,
            answer_tokens,
            asked or product,
        )
        writer.write(msgspec.json.encode(request) + b"\n" + body)
        await writer.drain()
        line = await reader.readline()
        if not line:
            msg = "the provider closed the connection"
            raise ConnectionResetError(msg)
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error:
            raise NotBilled(answer.error)
        return answer


async def run_agents(scenario: Scenario, process: int, provider_port: int, denials: Counter[str]) -> None:
    """Run all agents of a process to their end.

    Args:
        scenario: what happens.
        process: which of its processes this is.
        provider_port: where the provider listens, on loopback.
        denials: counts refusals by kind while they happen.
    """
    async with asyncio.TaskGroup() as group:
        for path in scenario.agents_of(process):
            group.create_task(Agent(scenario, process, path, denials).work(provider_port))


def prompt_of(size: TracedCall) -> str:
    """A text of exactly as many words as the traced request had tokens."""
    return _TEXT[: _ENDS[size.context_tokens - 1]]
