"""The agents of one process: loops of model and tool calls inside nested budget scopes.

Everything a user of costscope would write is here and in `calls`, and nothing a user would not: scopes, runs with their
turns, decorated methods, and `BudgetExceeded` as a reason to try the cheaper model.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from costscope import (
    BudgetExceeded,
    CallDenied,
    NotBilled,
    RunHalted,
    StoreUnavailable,
    budget_scope,
)
from costscope.cli.demo.calls import Calls, prompt_of
from costscope.cli.demo.scenario import Path, Scenario, run_of
from costscope.cli.trace import load_trace

if TYPE_CHECKING:
    from collections import Counter

    from costscope.cli.demo.scenario import Wild
    from costscope.cli.trace import TracedCall

__all__ = ["Agent", "run_agents"]

_TASTES: Final = {"research": (70, 15, 15), "support": (25, 60, 15)}
"""Of 100 calls of a workflow: to the large model, to the small one, to a tool."""
_REFUSED_PAUSE_S: Final = 0.01
"""An agent that was refused everything thinks it over for a moment."""
_NOT_ADMITTED_PAUSE_S: Final = 0.2
"""One whose run was refused comes back with the next one, if there may be one today."""
_OUTAGES_MAX: Final = 10
"""Calls in a row without an answer from the store after which an agent gives up: some five seconds."""


class Agent:
    """One agent and its connection to the provider."""

    def __init__(self, scenario: Scenario, process: int, path: Path, denials: Counter[str]) -> None:
        self._scenario = scenario
        self._path = path
        self.calls = Calls(path, process)
        self._denials = denials
        self._random = random.Random(f"{scenario.seed}:{path}")  # noqa: S311 - which calls it makes is no secret
        self._answered = False
        """Whether the store has admitted the run that is tried, or refused it."""
        self._outages = 0

    async def work(self, provider_port: int) -> None:
        """Make all its runs, one after the other, until no more are admitted today.

        Each call pays for its run, its agent, workflow and tenant.

        Raises:
            ConnectionError: the provider is gone.
            StoreUnavailable: the store is, for longer than a moment.
        """
        tenant, workflow, name = self._path
        async with (
            self.calls.connected(provider_port),
            budget_scope(tenant=tenant, workflow=workflow),
            budget_scope(agent=name),
        ):
            number = 0
            while number < self._scenario.runs and await self._admitted(number):
                number += self._answered

    async def _admitted(self, number: int) -> bool:
        """Make one run, or find out that it is not to be: False when none is admitted any more today."""
        self._answered = False
        try:
            await self._run(number)
        except NotBilled:
            pass  # the provider was out of order: this run has failed, the next one may be luckier
        except RunHalted:
            self._answered = True  # somebody had to stop it
        except StoreUnavailable as outage:
            self._missed(outage)  # a run without an answer is tried again
        except BudgetExceeded as refusal:
            self._answered = True
            await asyncio.sleep(_NOT_ADMITTED_PAUSE_S)
            return refusal.kind != "exhausted"
        return True

    async def _run(self, number: int) -> None:
        scenario, path = self._scenario, run_of(self._path, number)
        wild, attempts = scenario.wild.get(path), iter(scenario.calls_of(number))
        self.calls.whom = path
        async with budget_scope(run=path[-1]) as run:
            self._answered = True
            while turn := list(islice(attempts, scenario.turn_calls)):
                async with run.iteration():
                    for self.calls.attempt in turn:
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
            self._missed(outage)
        except CallDenied as refusal:
            self._denials[refusal.kind] += 1
            await asyncio.sleep(_REFUSED_PAUSE_S)

    def _missed(self, outage: StoreUnavailable) -> None:
        self._denials[outage.kind] += 1
        self._outages += 1
        if self._outages >= _OUTAGES_MAX:
            raise outage

    async def _call(self) -> None:
        large, small, _ = _TASTES[self._path[1]]
        size = self._random.choice(load_trace())
        what = self._random.randrange(100)
        if what < large:
            await self._large_or_small(size)
        elif what < large + small:
            await self.calls.ask_small(prompt_of(size), answer_tokens=size.generated_tokens)
        elif what % 2:
            await self.calls.web_search(f"budgets of agents, page {self.calls.attempt}")
        else:
            await self.calls.run_code(f"print({self.calls.attempt} * 7)")

    async def _wild_call(self, wild: Wild) -> None:
        """An agent that has lost its mind: it asks the same again, or does not see that a service is gone."""
        with suppress(NotBilled):
            if wild == "repeats":
                await self.calls.ask_small("def answer ( question ) : ", answer_tokens=1)
            else:
                await self.calls.old_service()

    async def _large_or_small(self, size: TracedCall) -> None:
        try:
            await self.calls.ask_large(prompt_of(size), answer_tokens=size.generated_tokens)
        except (RunHalted, StoreUnavailable):
            raise
        except CallDenied as refusal:
            self._denials[refusal.kind] += 1
            await self.calls.ask_small(prompt_of(size), answer_tokens=size.generated_tokens)


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
