"""`costscope exporter`: the state of every budget for Prometheus."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from costscope.cli.open_books import StoreOption, open_books
from costscope.errors import InvalidInput, InvalidPolicy
from costscope.observe.exporter.grouping import DEFAULT_LABELS, Grouping
from costscope.observe.exporter.reading import Reader
from costscope.observe.reports.forecast import BurnRates
from costscope.policy.load.watcher import PolicyWatcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from costscope.policy import Policy


_log = logging.getLogger("costscope.exporter")


def exporter(
    store: StoreOption = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Publish the limits of this policy, read again when the file changes."
        ),
    ] = None,
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 9464,
    top: Annotated[
        int,
        typer.Option(min=1, help="Accounts of each budget with series of their own; the rest is 'other'."),
    ] = 50,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A label of accounts that becomes a label of series; give it once for each. "
            f"By default {', '.join(DEFAULT_LABELS)}.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Over which burn rates are taken.")
    ] = 300,
) -> None:
    """Serve limits, spending, burn rates and forecasts of every budget to Prometheus, until SIGTERM or Ctrl-C."""
    server = _extra()
    grouping = Grouping(label or DEFAULT_LABELS, top)
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    limits = _policy_of(policy)
    with closing(open_books(store)) as books:
        reader = Reader(books, grouping, limits, rates=BurnRates(window))
        with closing(server.ExporterServer(reader, host, port)) as serving:
            typer.echo(f"costscope exporter: {books.url} at {serving.url}")
            stopped.wait()


def _extra() -> ModuleType:
    try:
        from costscope.observe.exporter import server  # noqa: PLC0415 - its client library is in an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        msg = "the exporter needs prometheus-client: pip install 'costscope[prometheus]'"
        raise InvalidInput(msg) from error
    return server


def _policy_of(source: str | None) -> Callable[[], Policy | None]:
    """Return a function that reads the policy that holds now; a version that is wrong changes nothing."""
    if source is None:
        return lambda: None
    watcher = PolicyWatcher(source)

    def read_current() -> Policy:
        try:
            watcher.take_change()
        except InvalidPolicy as problem:
            _log.warning("the limits stay as they were: %s", problem)
        return watcher.policy

    return read_current
