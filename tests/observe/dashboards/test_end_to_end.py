"""Prometheus scrapes the exporter and an application, alerts fire, and every panel of the dashboard has something to show.

All of it real and each in a process of its own: valkey-server, `costscope exporter`, the example's application,
Prometheus.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import uuid

import pytest
import yaml
from prometheus import EXAMPLE, Prometheus, expressions, substituted
from running import PATIENT

from costscope_valkey.guardian import die_with_parent

pytestmark = pytest.mark.usefixtures("installed_prometheus")

BUDGETS = EXAMPLE / "budgets.yaml"
AT_ONCE = {
    "CostscopeBudgetExhausted",
    "CostscopeRunawayDetected",
    "CostscopeDenialsHigh",
    "CostscopeOverruns",
}
NEVER = {"CostscopeExporterDown", "CostscopeStoreUnreachable", "CostscopeBooksInconsistent"}


class Program:
    """A process that serves its metrics on the port it is given."""

    def __init__(self, *words: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COSTSCOPE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=kept,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - it only asks the kernel for that
        )

    def end(self) -> str:
        """What it has complained of."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, errors
        return errors

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def started(request):
    """Start something that is closed when the test ends, the last one first."""

    def start(what, *args):
        thing = what(*args)
        request.addfinalizer(thing.close)
        return thing

    return start


@pytest.fixture
def ports():
    """A port for each job: bound but not listening, so that nobody else is given it until the job takes it."""
    with contextlib.ExitStack() as stack:
        held = {job: stack.enter_context(socket.socket()) for job in ("costscope-exporter", "costscope-app")}
        for each in held.values():
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", 0))
        yield {job: each.getsockname()[1] for job, each in held.items()}


def test_the_whole_way_from_a_call_to_a_panel_and_an_alert(started, ports, valkey_server_factory, tmp_path):
    server = valkey_server_factory(appendonly="yes")
    url = f"{server.url}?ledger=t-{uuid.uuid4().hex[:16]}"
    books = ("--store", url + PATIENT)
    exporting = ("-m", "costscope", "exporter", "--policy", str(BUDGETS))
    exporter = started(Program, *exporting, "--store", url, "--port", str(ports["costscope-exporter"]))
    prometheus = started(Prometheus, tmp_path, ports)
    evaluates_the_shipped_rules(prometheus)
    prometheus.until_scraped("costscope-exporter")  # before the first event, which is to be counted
    working = (str(EXAMPLE / "live.py"), "--pace", "0.03")
    application = started(Program, *working, *books, "--port", str(ports["costscope-app"]))
    prometheus.until_scraped("costscope-app")

    every_panel_has_something_to_show(prometheus)
    prometheus.until(
        lambda: prometheus.firing().keys() >= AT_ONCE,
        lambda: f"only these alerts fire: {sorted(prometheus.firing())}",
    )
    firing = prometheus.firing()
    assert not firing.keys() & NEVER
    assert "acme" in {labels["tenant"] for labels in firing["CostscopeBudgetExhausted"]}
    exhausted = {labels["budget"] for labels in firing["CostscopeBudgetExhausted"]}
    assert exhausted == {"tenant-hour"}, "neither the soft budget nor the one in the shadow"
    the_tenant_that_is_chosen_is_the_only_one_shown(prometheus)
    the_variables_have_values(prometheus)
    assert application.end() == ""

    server.kill()
    prometheus.until(lambda: "CostscopeStoreUnreachable" in prometheus.firing(), "nobody misses the store")
    assert "CostscopeExporterDown" not in prometheus.firing(), "the exporter still answers"
    assert "cannot be read" in exporter.end()
    prometheus.until(lambda: "CostscopeExporterDown" in prometheus.firing(), "nobody misses the exporter")
    assert "level=error" not in prometheus.log()
    assert "level=warn" not in prometheus.log(), "series that were scraped twice"


def evaluates_the_shipped_rules(prometheus):
    loaded = prometheus.rules()
    groups = yaml.safe_load((EXAMPLE / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    shipped = {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}

    def words(expression):
        """In any order: Prometheus sorts the labels, and sets parentheses of its own."""
        return sorted(re.findall(r'"[^"]*"|[\w.]+|[^\w\s()]', expression))

    assert {name: words(rule["query"]) for name, rule in loaded.items()} == {
        name: words(expression) for name, expression in shipped.items()
    }
    assert {rule["duration"] for rule in loaded.values()} == {0}


def every_panel_has_something_to_show(prometheus):
    waiting = expressions()
    assert len(waiting) > 50

    def ask():
        for place, expression in list(waiting.items()):
            if any(not math.isnan(value) for value in values(prometheus, substituted(expression))):
                del waiting[place]
        return not waiting

    prometheus.until(ask, lambda: f"no data for {json.dumps(waiting, indent=1)}")


def the_tenant_that_is_chosen_is_the_only_one_shown(prometheus):
    for place, expression in expressions().items():
        if "$tenant" in expression:
            assert values(prometheus, substituted(expression, tenant="nobody")) == [], place
    tenants = {
        sample["metric"].get("tenant")
        for expression in expressions().values()
        if "$tenant" in expression
        for sample in prometheus.query(substituted(expression, tenant="acme|globex"))
    }
    assert tenants == {"acme", "globex", None}


def the_variables_have_values(prometheus):
    board = json.loads((EXAMPLE / "dashboard.json").read_text(encoding="utf-8"))
    found = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(
                r"label_values\((.*), (\w+)\)", variable["query"]["query"]
            ).groups()
            found[variable["name"]] = set(prometheus.label_values(label, selector))
    assert found == {
        "tenant": {"acme", "globex", "initech"},
        "budget": {"company-day", "tenant-hour", "workflow-day", "tools-trial"},
    }


def values(prometheus, expression):
    return [float(sample["value"][1]) for sample in prometheus.query(expression)]
