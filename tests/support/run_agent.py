"""A process that works in runs, step by step as a test tells it: `RunAgent` here, `_serve` there.

The processes are forked from one that has imported everything, since an interpreter takes a second to start.

A busy machine may leave a process alone for longer than a short lease, and then its slot is rightly another's. So tests
give leases that no busy machine lets end (`slot_lease_s=STEADY_LEASE_S`), and one that is to lose its slot shortens its
leases just before it is stopped or killed: `hurry`, `freeze`, `stop_inside_a_reserve`.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import multiprocessing
import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from until import until

from costscope import (
    BudgetExceeded,
    CallDenied,
    RunHalted,
    Runtime,
    budget_scope,
    metered_model,
    metered_tool,
)
from costscope.background.heartbeat import awake_s
from costscope.engine.state.run import Run
from costscope.ledger import Extend, Reserve
from costscope.scope.runtime import services_of
from costscope.stores import open_store

__all__ = ["STEADY_LEASE_S", "RunAgent", "make_agent"]

STEADY_LEASE_S = 120.0
_SHORT_LEASE_MS = 600

_IMPORTED = [
    "costscope",
    "costscope.cli.demo.agents",
    "costscope_valkey",
    "costscope.testing",
    "tenacity",
    "wrapt",
]


class RunAgent:
    """The other process, as the test sees it."""

    def __init__(self, url: str, policy: dict, options: dict) -> None:
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload(_IMPORTED)
        self._here, there = processes.Pipe()
        self._bedside, bed = processes.Pipe()
        self.process = processes.Process(target=_serve, args=(there, bed, url, policy, options), daemon=True)
        self.process.start()
        there.close()
        bed.close()

    def tell(self, verb: str, *args: object) -> None:
        """Give an order, and do not wait for the answer."""
        self._here.send((verb, args))

    def hears(self):
        """The next answer."""
        assert self._here.poll(60), "the process does not answer"
        return self._here.recv()

    def do(self, verb: str, *args: object):
        """Give an order and wait for the answer."""
        self.tell(verb, *args)
        return self.hears()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.join()

    def hurry(self, *, stop: bool = False) -> int:
        """Let the leases it has now end soon, in the middle of any work: when, in ms of the store's clock."""
        self._bedside.send(stop)
        assert self._bedside.poll(60), "the process does not answer"
        return self._bedside.recv()

    def freeze(self) -> None:
        """Stop it (SIGSTOP) with leases that end soon; returns when it stands still."""
        self.hurry(stop=True)
        self.stands_still()

    def stop_inside_a_reserve(self) -> int:
        """Let it make a call, and stop when the store has answered the reserve: when its leases end, as `hurry`."""
        ends_ms = self.do("stop_inside_a_reserve")
        self.stands_still()
        return ends_ms

    def stands_still(self) -> None:
        """Wait until it has been stopped, by itself or by `freeze`."""
        if Path("/proc/self/stat").exists():
            until(lambda: self.is_still)

    @property
    def is_still(self) -> bool:
        """It was stopped."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    @property
    def has_answered(self) -> bool:
        """There is something to hear."""
        return self._here.poll()

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.process.pid, signal.SIGCONT)

    def leaves_quietly(self) -> None:
        """Its program ends, with all that it has open."""
        self._here.close()
        self.process.join()

    def end(self) -> None:
        """In the middle of any work."""
        self.kill()
        self._here.close()
        self._bedside.close()
        self.process.close()


def _serve(orders, bed, url: str, policy: dict, options: dict) -> None:
    with Runtime(store=open_store(url), policy=policy, **options) as runtime:
        agent = _Agent(runtime, orders)
        threading.Thread(target=agent.lie_down, args=(bed,), daemon=True).start()
        while True:
            try:
                verb, args = orders.recv()
            except EOFError:
                return
            orders.send(getattr(agent, verb)(*args))


@pytest.fixture
def make_agent(patient_url):
    """Starts other processes on this test's ledger; see `RunAgent`."""
    agents = []

    def make(policy, **options):
        agents.append(RunAgent(patient_url, policy, options))
        return agents[-1]

    yield make
    for agent in agents:
        agent.end()


class _Agent:
    def __init__(self, runtime, orders) -> None:
        self.runtime = runtime
        self._orders = orders
        self.opened = []
        self.reasons: list[str] = []
        runtime.events.on("runaway", lambda event: self.reasons.append(event.reason))
        self.tool = metered_tool("step", price="0.01", runtime=runtime)(lambda: time.monotonic())  # noqa: PLW0108 - a builtin has no signature

    def open(self, labels: dict, limits: dict | None = None) -> str:
        """Enter a run; "in", or why not."""
        return _said(lambda: self._enter(labels, limits or {}))

    def call(self) -> str:
        """Make one metered call."""
        return _said(self.tool)

    def call_until_told(self) -> str:
        """Make one metered call that lasts until anything is sent."""

        def body() -> None:
            self._orders.send("inside")
            self._orders.recv()

        return _said(metered_tool("slow", price="0.01", runtime=self.runtime)(body))

    def fail(self, number: int) -> str:
        """Make one call that fails, and let everybody know; why it was not made, if it was not."""

        def body(number: int) -> None:
            raise ConnectionError(number)

        with suppress(ConnectionError):
            return _said(lambda: metered_tool("fails", price="0.01", runtime=self.runtime)(body)(number))
        return self.noted()

    def ask(self, text: str, tokens: int = 10_000) -> str:
        """Make one call to a model, and let everybody know; the model it went to, or why it was not made.

        Args:
            text: what it is asked.
            tokens: that it takes, at 1.00 a million.
        """
        went = []

        def body(text: str, model: str = "big") -> str:
            went.append(model)
            return text

        used = {"estimate": "1", "usage": lambda _: (tokens, 0), "price": {"input": 1}}
        ask = metered_model(runtime=self.runtime, **used)(body)
        said = _said(lambda: ask(text))
        self.noted()
        return went[0] if went else said

    def noted(self) -> str:
        """Wait until the other processes can know of the calls of this one."""
        assert services_of(self.runtime).call_reports.drain(20)
        return "ok"

    def suspected(self) -> list[str]:
        """The reasons for which this process was told that a run is out of control."""
        self.published()
        return self.reasons

    def iterate(self) -> str:
        """One turn."""

        def turn() -> None:
            with self.opened[-1][1].iteration():
                pass

        return _said(turn)

    def work(self, pause_s: float) -> list:
        """Make calls until anything is sent, or one is refused; when each was made, and what ended it."""
        made, said = [], "ok"
        while said == "ok" and not self._orders.poll():
            at = []
            said = _said(lambda at=at: at.append(self.tool()))
            made += at
            time.sleep(pause_s)
        if said == "ok":
            self._orders.recv()
        return [made, said]

    def wait_async(self, labels: dict, limits: dict, seconds: float) -> list:
        """Wait in an `async with` run; how that ended, and after how many seconds."""

        async def waits() -> None:
            async with budget_scope(runtime=self.runtime, **limits, **labels):
                self._orders.send("in")
                await asyncio.sleep(seconds)

        began = time.monotonic()
        said = _said(lambda: asyncio.run(waits()))
        return [said, time.monotonic() - began]

    def stop_inside_a_reserve(self) -> str:
        """Stop this process when the store has answered the reserve of a call, until it is continued; make the call.

        Its leases end soon after it was stopped.
        """
        store, execute = self.runtime.store, self.runtime.store.execute

        def stopping(commands):
            if threading.current_thread() is not threading.main_thread():
                return execute(commands)
            replies = execute(commands)
            store.execute = execute
            self._orders.send(
                self._shorten_leases(*[command.id for command in commands if isinstance(command, Reserve)])
            )
            os.kill(os.getpid(), signal.SIGSTOP)
            return replies

        store.execute = stopping
        return self.call()

    def lie_down(self, bed) -> None:
        """Shorten the leases whenever that is asked for, from a thread of its own, and stop the process if told to."""
        with suppress(EOFError):
            while True:
                stop = bed.recv()
                bed.send(self._shorten_leases())
                if stop:
                    os.kill(os.getpid(), signal.SIGSTOP)

    def _shorten_leases(self, *more: str) -> int:
        """Let the leases that this process renews, and `more`, end soon: at which ms of the store's clock."""
        renewer = services_of(self.runtime).lease_renewer
        leases = list(renewer._leases.values())
        renewer.lease_ms, sent_s = _SHORT_LEASE_MS, awake_s()
        replies = self.runtime.store.execute(
            [Extend(hold_id, _SHORT_LEASE_MS) for hold_id in (*more, *(lease.hold_id for lease in leases))]
        )
        for lease in leases:
            if lease.lease_s < math.inf:  # one that ends by this process's clock, too
                lease.lease_s = _SHORT_LEASE_MS / 1000
            lease.renew(sent_s)
        return max(reply.now_ms for reply in replies) + _SHORT_LEASE_MS

    def contend(self, name: str, until_s: float, fenced: bool) -> list[tuple[float, float]]:
        """Enter one run after another, fall asleep now and then; when the first and last call of each was made.

        Args:
            name: what its runs are called.
            until_s: of the machine's monotonic clock.
            fenced: with False, a holder does not ask whether it still is one.
        """
        if not fenced:
            Run.check = lambda self: None
        worked, number = [], 0
        while time.monotonic() < until_s:
            number += 1
            made: list[float] = []
            with (
                suppress(RunHalted, BudgetExceeded),
                budget_scope(runtime=self.runtime, run=f"{name}-{number}"),
            ):
                for _ in range(40):
                    made.append(self.tool())
                    if random.random() < 0.02:
                        self._sleep_somewhere()
                    time.sleep(0.005)
            if made:
                worked.append((made[0], made[-1]))
            time.sleep(0.005)
        return worked

    def _sleep_somewhere(self) -> None:
        if random.random() < 0.5:
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        store, execute = self.runtime.store, self.runtime.store.execute

        def stopping(commands):
            replies = execute(commands)
            if threading.current_thread() is threading.main_thread():
                store.execute = execute
                os.kill(os.getpid(), signal.SIGSTOP)
            return replies

        store.execute = stopping

    def halt(self, reason: str) -> str:
        """Stop the run."""
        self.opened[-1][1].halt(reason)
        return "ok"

    def leave(self) -> str | None:
        """Leave the run; its status."""
        opener, scope = self.opened.pop()
        opener.__exit__(None, None, None)
        return scope.summary().status

    def open_many(self, tries: int, name: str) -> int:
        """Try to enter so many runs, and stay in those that are admitted; how many."""
        admitted = 0
        for number in range(tries):
            admitted += (
                _said(lambda number=number: self._enter({"run": f"{name}-{number}"}, {}, nested=False))
                == "ok"
            )
        return admitted

    def leave_all(self) -> int:
        """Leave every run; how many."""
        left = len(self.opened)
        while self.opened:
            self.leave()
        return left

    def look(self) -> int:
        """Look at the books, as a monitor does; how many holds are live."""
        return len(self.runtime.store.snapshot().holds)

    def published(self) -> bool:
        """Wait until everything is told that was to be."""
        return self.runtime.events.drain(20) and services_of(self.runtime).outbox.drain(20)

    def _enter(self, labels: dict, limits: dict, *, nested: bool = True) -> None:
        opener = budget_scope(runtime=self.runtime, **limits, **labels)
        context = None if nested else contextvars.copy_context()
        scope = opener.__enter__() if context is None else context.run(opener.__enter__)
        self.opened.append((opener, scope))


def _said(act) -> str:
    try:
        act()
    except RunHalted as halted:
        return f"halted: {halted.reason}"
    except BudgetExceeded as refused:
        return f"{refused.kind} {refused.budget} {refused.meter}"
    except CallDenied as denied:
        return denied.kind
    return "ok"
