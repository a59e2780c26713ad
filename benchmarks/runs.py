"""The admission of a run and its end: how often the server is asked, and how long that takes."""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import copy_context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

import valkey

from benchmarks.harness import Figure, Pairs, Target, repeat_operation, rotate_names, rounds
from benchmarks.workload import embedded_server
from costscope import Runtime, budget_scope
from costscope_valkey.codec import source_of
from costscope_valkey.link import Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Effort
    from costscope.scope.budget_scope import BudgetScope


_POLICY: Final[dict[str, Any]] = {
    "budgets": [
        {
            "id": "tenant-day",
            "per": ["tenant"],
            "period": "daily",
            "limits": {"runs": 10**9, "cost": 9_000_000},
            "thresholds": [{"at": 90, "actions": ["halt_new_runs"]}],
        },
        {"id": "places", "per": ["tenant"], "limits": {"concurrent_runs": 10_000}},
    ]
}
"""Runs are counted and have places, and a threshold may forbid new ones: everything an admission can ask for."""

_LABELS: Final = {"tenant": "acme", "workflow": "report"}
_SIZE: Final = 20
_ONE: Final = Target("at most", 1)


def measure(effort: Effort) -> list[Figure]:
    """On Valkey against one PING and one EVALSHA that does nothing; in memory against a scope that is no run."""
    with (
        embedded_server() as (url, socket),
        valkey.Valkey(unix_socket_path=socket) as client,
        Runtime(store=url, policy=_POLICY) as runtime,
    ):
        asked = _count_commands(runtime, client, effort.times(100, 10))
        times = _time_runs(runtime, client, effort.times(200, 20))
    return [*asked, *times, _in_memory(effort)]


def _count_commands(runtime: Runtime, client: valkey.Valkey, runs: int) -> list[Figure]:
    """Requests with the ledger's script, as the server saw them; the board is told in the background."""
    ledger = Script(source_of("ledger")).sha
    with client.monitor() as monitor:
        opened = [_open_run(runtime, f"counted-{number}") for number in range(runs)]
        client.echo("admitted")
        for scope in opened:
            scope.__exit__(None, None, None)
        client.echo("ended")
        admitted = _until(monitor, "admitted", ledger)
        ended = _until(monitor, "ended", ledger)
    what = "requests of the ledger for"
    return [
        Figure(f"{what} the admission of a run", admitted / runs, "requests", target=_ONE),
        Figure(f"{what} its end", ended / runs, "requests", target=_ONE),
    ]


def _until(monitor: Any, mark: str, script: str) -> int:
    """How many requests with this script came before the mark."""
    count = 0
    for one in monitor.listen():
        if one["command"] == f"ECHO {mark}":
            return count
        if script in one["command"] and one["client_type"] != "lua":
            count += 1
    raise AssertionError(mark)


def _time_runs(runtime: Runtime, client: valkey.Valkey, count: int) -> list[Figure]:
    sha, number = client.script_load("return 1"), 0

    def runs() -> dict[str, int]:
        nonlocal number
        times = {"admission": 0, "end": 0}
        for _ in range(_SIZE):
            number += 1
            begun = perf_counter_ns()
            scope = _open_run(runtime, f"timed-{number}")
            times["admission"] += perf_counter_ns() - begun
            runtime.events.drain()  # what tells others of it goes out behind it, and would slow down the next one
            begun = perf_counter_ns()
            scope.__exit__(None, None, None)
            times["end"] += perf_counter_ns() - begun
            runtime.events.drain()
        return times

    contenders: dict[str, Callable[[], dict[str, int]]] = {
        "ping": lambda: _block("ping", client.ping),
        "script": lambda: _block("script", lambda: client.evalsha(sha, 0)),
        "runs": runs,
    }
    times: dict[str, list[float]] = {}
    for at in range(count + 1):
        for name in rotate_names(list(contenders), at):
            for what, ns in contenders[name]().items():
                if at:  # the first round warms up
                    times.setdefault(what, []).append(ns / _SIZE / 1000)
    return [
        Figure.of_ratio(f"{what} on Valkey", Pairs(times[floor], times[ours]), floor_name)
        for ours, what in (("admission", "admission of a run"), ("end", "its end"))
        for floor, floor_name in (
            ("script", "one EVALSHA of valkey.Valkey"),
            ("ping", "one PING of valkey.Valkey"),
        )
    ]


def _block(name: str, operation: Callable[[], object]) -> dict[str, int]:
    begun = perf_counter_ns()
    repeat_operation(operation)(_SIZE)
    return {name: perf_counter_ns() - begun}


def _in_memory(effort: Effort) -> Figure:
    def empty() -> None:
        with nullcontext():
            pass

    with Runtime(policy=_POLICY) as runtime:

        def whole() -> None:
            with budget_scope(runtime=runtime, run="r-1", **_LABELS):
                pass

        found = rounds(
            {"empty": repeat_operation(empty), "ours": repeat_operation(whole)},
            count=effort.times(100, 20),
            size=100,
        )
    return Figure.of_extra(
        "admission and end of a run in memory", found.pairs("empty", "ours"), "an empty `with`"
    )


def _open_run(runtime: Runtime, run: str) -> BudgetScope:
    """A run that is ambient nowhere: they are all open at once, side by side."""
    scope = budget_scope(runtime=runtime, run=run, **_LABELS)
    copy_context().run(scope.__enter__)
    return scope
