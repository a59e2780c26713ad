"""`costscope demo`: its options, the store it uses, what it prints and its exit code."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import parse_qsl, quote, urlencode

import typer

from costscope.cli.demo.scenario import Scenario
from costscope.errors import InvalidInput
from costscope.observe.reports.as_json import json_text
from costscope.pricing.money import to_nano
from costscope.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from costscope.cli.demo.verdict import Verdict

_LEASE_S: Final = 3.0  # so short that presumed holds can be watched; a program of your own keeps its 900 s
_NANO_PER_ATTEMPT: Final = 1_000_000
"""The default budget: 0.001 USD for each call tried, of which the agents would spend more than twice as much."""
_LAST_HOUR: Final = 23
_INTERRUPTED: Final = 130


def demo(
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A store of yours, used under a ledger name of its own. By default a Valkey is started in a "
            "temporary folder and removed at the end.",
        ),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 4,
    tasks: Annotated[int, typer.Option(min=1, max=1000, help="Agents in each process.")] = 16,
    calls: Annotated[int, typer.Option(min=1, max=1_000_000, help="Calls each agent tries.")] = 240,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="USD",
            help="What all tenants may spend together. By default 0.001 for each call: too little.",
        ),
    ] = None,
    *,
    kill: Annotated[
        bool | None,
        typer.Option(
            "--kill/--no-kill", help="Kill one worker in the middle; by default if there are two or more."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which calls the agents try.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Watch many agents run into nested budgets, and compare the provider's bill with the ledger.

    Exits with 1 if a bill is above a limit, the books are not exact, or a promise was not kept.
    """
    if store is not None and store.startswith("memory:") and processes > 1:
        msg = "memory:// is one process's memory: use --processes 1 with it, or a valkey:// store"
        raise InvalidInput(msg)
    if kill and processes == 1:
        msg = "--kill needs --processes 2 or more: one must be left to see it"
        raise InvalidInput(msg)
    default_nano = _NANO_PER_ATTEMPT * processes * tasks * calls
    nano = default_nano if budget is None else to_nano(budget, what="--budget")
    victim = None if kill is False or processes == 1 else processes - 1
    # the budgets are daily, and a day that ends in the middle would double them
    timezone = "Asia/Tokyo" if dt.datetime.now(dt.UTC).hour == _LAST_HOUR else "UTC"
    scenario = Scenario(processes, tasks, calls, nano, seed, _LEASE_S, victim, timezone)
    try:
        verdict = _run(scenario, store, quiet=json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("costscope: demo stopped; nothing of it is left running\n")
        raise typer.Exit(_INTERRUPTED) from None
    if json:
        typer.echo(json_text(verdict.as_json()))
    if not verdict.passed:
        raise typer.Exit(1)


def fresh_ledger(url: str) -> str:
    """Give the same store a ledger name that is not used yet, so that two demos never share a budget."""
    if url.startswith("memory:"):
        return url
    place, _, query = url.partition("?")
    options = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "ledger"]
    return f"{place}?{urlencode([*options, ('ledger', f'demo-{secrets.token_hex(6)}')])}"


def _run(scenario: Scenario, url: str | None, *, quiet: bool) -> Verdict:
    from rich.console import Console  # noqa: PLC0415 - rich takes 0.1 s

    from costscope.cli.demo.orchestration import run_demo  # noqa: PLC0415 - workers and scopes: only for a demo
    from costscope.cli.demo.screen import DemoScreen  # noqa: PLC0415 - as above

    with _store_url(url) as chosen, contextlib.closing(open_store(chosen)) as store:
        store.snapshot()  # a store that is away is said so now, and not by every agent
        with DemoScreen(Console(quiet=quiet)) as screen:
            verdict = asyncio.run(_run_until_signal(run_demo(scenario, store, chosen, screen.show)))
        screen.finish(verdict, url if url is None else chosen)
    return verdict


async def _run_until_signal(running: Coroutine[None, None, Verdict]) -> Verdict:
    """End in order on SIGTERM and on a closed terminal too, as asyncio does on Ctrl-C."""
    task = asyncio.current_task()
    assert task is not None, "we are inside one"
    for name in ("SIGTERM", "SIGHUP"):
        with contextlib.suppress(NotImplementedError, AttributeError):  # Windows
            asyncio.get_running_loop().add_signal_handler(getattr(signal, name), task.cancel)
    return await running


@contextlib.contextmanager
def _store_url(url: str | None) -> Iterator[str]:
    """Choose the URL to use; an embedded server in a temporary folder lives until the end of the block."""
    if url is not None:
        yield fresh_ledger(url)
        return
    # not TemporaryDirectory: its clean-up must come after the server's
    folder = Path(tempfile.mkdtemp(prefix="costscope-demo-"))
    try:
        yield f"embedded://{quote(str(folder))}"
    finally:
        # a second Ctrl-C must not leave a server behind
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with contextlib.suppress(ImportError):
                from costscope_valkey.embedded import stop_server  # noqa: PLC0415 - an optional dependency

                stop_server(folder)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            signal.signal(signal.SIGINT, previous)
