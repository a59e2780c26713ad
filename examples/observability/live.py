"""Agents of three tenants at work, without a network: something to see in Prometheus and Grafana.

    python live.py --store embedded://./books

Metrics of the application are served on port 9465, through OpenTelemetry. Beside it run `costscope exporter` on the
same store for what stands in the books. Ends on Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import signal
import threading
from pathlib import Path

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

from costscope import (
    BudgetExceeded,
    RunHalted,
    Runtime,
    Scope,
    StoreUnavailable,
    Usage,
    budget_scope,
    metered_model,
    metered_tool,
)

POLICY = Path(__file__).with_name("budgets.yaml")
WORKERS = {"acme": 3, "globex": 2, "initech": 1}
"""Threads of each tenant: acme is the first to have used up its hour."""

UNREACHABLE = 0.2
"""The share of pages that do not answer."""


class Agents:
    """What the agents call, and how they work."""

    def __init__(self, runtime: Runtime, stopped: threading.Event, pace: float) -> None:
        self._runtime = runtime
        self._stopped = stopped
        self._pace = pace
        self._numbers = itertools.count(1)
        self.ask = metered_model(estimate="capped", runtime=runtime)(self._ask)
        self.search = metered_tool("web_search", runtime=runtime)(self._search)
        self.fetch = metered_tool("fetch_page", runtime=runtime)(self._fetch)
        # Some pages cost more to render than is reserved: an overrun, which alerts are about too.
        self.render = metered_tool(
            "render_page", estimate="0.0010", usage=lambda cost: cost, runtime=runtime
        )(self._render)

    def work(self, tenant: str) -> None:
        """One run after the other, until it is time to stop."""
        while not self._stopped.is_set():
            workflow = random.choice(["report", "report", "digest"])
            number = next(self._numbers)
            try:
                with budget_scope(
                    runtime=self._runtime, tenant=tenant, workflow=workflow, run=f"{tenant}-{number}"
                ) as run:
                    self._run(run, number)
            except (BudgetExceeded, StoreUnavailable):
                self._stopped.wait(3 * self._pace)  # this hour's money is gone, or the store is away
            except (RunHalted, RuntimeError):
                pass  # its status says so

    def _run(self, run: Scope, number: int) -> None:
        if number % 12 == 0:
            self._loop_for_ever(run)
        for _ in itertools.islice(run.iterations(), random.randint(1, 4)):
            if self._stopped.is_set():
                return
            self._step()
        if number % 9 == 0:
            msg = "an agent that gave up"
            raise RuntimeError(msg)

    def _step(self) -> None:
        with budget_scope(runtime=self._runtime, agent="researcher"):
            try:
                self.fetch(self.search(f"news {random.random()}"))
            except OSError:
                self.fetch("https://example.org/mirror")
        with budget_scope(runtime=self._runtime, agent="writer"):
            self.ask("gpt-4o", "Summarise what was found. " * 40, max_tokens=800)
            self.render("page")

    def _loop_for_ever(self, run: Scope) -> None:
        """What a confused agent does: the same question, again and again, until its run is halted."""
        for _ in run.iterations():
            self.search("the same question")

    # ------------------------------------------------- stand-ins for providers

    def _pause(self, most: float) -> None:
        self._stopped.wait(random.uniform(0.2, 1.0) * most * self._pace)

    def _ask(self, model: str, prompt: str, *, max_tokens: int) -> Usage:
        self._pause(1.5 if model == "gpt-4o" else 0.6)
        sent = len(prompt) // 4
        return Usage(
            input_tokens=sent,
            cache_read_tokens=sent // 2,
            output_tokens=random.randint(max_tokens // 2, max_tokens),
        )

    def _search(self, query: str) -> str:
        self._pause(0.4)
        return f"https://example.org/{len(query)}"

    def _fetch(self, url: str) -> str:
        self._pause(0.8)
        if "mirror" not in url and random.random() < UNREACHABLE:
            msg = f"no answer from {url}"
            raise OSError(msg)
        return url

    def _render(self, _page: str) -> str:
        self._pause(0.2)
        return f"{random.uniform(0.0005, 0.0030):.6f}"


def main() -> None:
    """Read the options, serve the metrics, work until a signal comes."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--store", default="embedded://./books", help="URL of the store")
    options.add_argument(
        "--port", type=int, default=9465, help="of the application's metrics; 0: any free one"
    )
    options.add_argument("--pace", type=float, default=1.0, help="0.02 is fifty times as fast")
    given = options.parse_args()

    logging.getLogger("costscope").setLevel(logging.ERROR)  # refusals are what this is about
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    provider = MeterProvider(metric_readers=[PrometheusMetricReader()])
    server, _ = start_http_server(given.port, addr="127.0.0.1")
    with Runtime(store=given.store, policy=POLICY, meter_provider=provider) as runtime:
        agents = Agents(runtime, stopped, given.pace)
        threads = [
            threading.Thread(target=agents.work, args=(tenant,))
            for tenant, many in WORKERS.items()
            for _ in range(many)
        ]
        for thread in threads:
            thread.start()
        print(f"metrics of the application: http://127.0.0.1:{server.server_port}/metrics", flush=True)
        stopped.wait()
        for thread in threads:
            thread.join()
    provider.shutdown()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
