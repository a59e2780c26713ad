"""`costscope exporter` as a process, on a real server."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

pytest.importorskip("prometheus_client", reason="the extra `prometheus` is not installed")


class Exporter:
    """A running exporter; `scrape` asks it as Prometheus would."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.first_line = process.stdout.readline()
        self.url = re.search(r"http://\S+", self.first_line).group()

    def scrape(self) -> dict[str, float]:
        with urllib.request.urlopen(self.url, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return {
            name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")
        }

    def until(self, name: str, value: float) -> None:
        """Scrape until a series has this value; a reading is a second old at most."""
        deadline = time.monotonic() + 30
        while (found := self.scrape().get(name)) != value:
            assert time.monotonic() < deadline, f"{name} stays at {found}"
            time.sleep(0.1)

    def read_anew(self) -> None:
        """Scrape until the exporter has looked into the store once more."""
        took = "costscope_exporter_read_seconds"
        before, deadline = self.scrape()[took], time.monotonic() + 30
        while self.scrape()[took] == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@pytest.fixture
def exporter(environment):
    """Start `costscope exporter ARGS...` on a free port."""
    with contextlib.ExitStack() as stack:

        def start(*args: str) -> Exporter:
            process = subprocess.Popen(
                [sys.executable, "-m", "costscope", "exporter", "--port", "0", *args],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return Exporter(process)

        yield start


def test_it_serves_the_books_and_says_where(exporter, books):
    _, url = books
    running = exporter("--store", url)
    assert running.url.startswith("http://127.0.0.1:")
    found = running.scrape()
    assert found['costscope_budget_spent{budget="tenant-day",meter="cost",tenant="acme"}'] == 0.500000001
    assert found["costscope_live_holds"] == 1
    assert found["costscope_audit_differences"] == 0
    assert found["costscope_exporter_up"] == 1
    assert not [name for name in found if "r-1" in name], "no run ids unless asked"


def test_labels_can_be_chosen(exporter, books):
    _, url = books
    found = exporter("--store", url, "--label", "run", "--label", "tenant").scrape()
    assert 'costscope_budget_limit{budget="~scope",meter="cost",run="r-1",tenant="acme"}' in found


def test_the_other_accounts_are_one(exporter, books):
    _, url = books
    _spend_of_tenants(url, 5)
    found = exporter("--store", url, "--top", "2", "--label", "tenant").scrape()
    place = 'costscope_budget_accounts{budget="tenant-day",tenant='
    assert [name for name in found if name.startswith(place)]
    assert found[f'{place}"other"}}'] == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(exporter, books, number):
    _, url = books
    running = exporter("--store", url)
    running.scrape()
    assert running.end(number) == (0, "")
    with pytest.raises(OSError):
        urllib.request.urlopen(running.url, timeout=5)


def test_a_server_that_goes_away_is_a_zero_until_it_is_back(exporter, books):
    server, url = books
    running = exporter("--store", url)
    running.until("costscope_exporter_up", 1)
    server.kill()
    running.until("costscope_exporter_up", 0)
    server.start()
    running.until("costscope_exporter_up", 1)
    code, errors = running.end(signal.SIGTERM)
    assert code == 0
    assert "cannot be read" in errors
    assert "can be read again" in errors
    assert "Traceback" not in errors


def test_a_policy_that_changes_is_read_again_and_one_that_broke_is_not(exporter, books, policy_file):
    _, url = books
    running = exporter("--store", url, "--label", "tenant", "--policy", str(policy_file))
    limit = 'costscope_budget_limit{budget="tenant-day",meter="cost",tenant="acme"}'
    running.until(limit, 5)
    text = policy_file.read_text()
    _replace(policy_file, text.replace('"5.00"', '"70.00"'))
    running.until(limit, 70)
    _replace(policy_file, "budgets: 17\n")
    for _ in range(4):  # seen, believed, refused; and one to spare
        running.read_anew()
    assert running.scrape()[limit] == 70
    assert "the limits stay as they were" in running.end(signal.SIGTERM)[1]


def test_a_port_that_is_taken_is_one_line_and_2(costscope, books):
    _, url = books
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = costscope("exporter", "--store", url, "--port", str(port))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"costscope: port {port} of 127.0.0.1 is taken")
    assert "--port" in done.err
    assert done.err.count("\n") == 1


def test_without_the_extra_it_says_what_to_install(environment, books):
    _, url = books
    code = "import sys; sys.modules['prometheus_client'] = None; import costscope.cli; costscope.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "exporter", "--store", url],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "costscope: the exporter needs prometheus-client: pip install 'costscope[prometheus]'\n"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--label", "meter"), "label 'meter' cannot be a label"),
        (("--top", "0"), "--top"),
        (("--port", "65536"), "--port"),
        (("--window", "0"), "--window"),
    ],
)
def test_a_wrong_option_is_refused(costscope, books, options, says):
    _, url = books
    done = costscope("exporter", "--store", url, *options)
    assert done.code == 2
    assert says in done.err


def test_the_default_is_loopback_and_not_the_port_of_prometheus(costscope):
    shown = costscope("exporter", "--help").out
    assert "[default: 127.0.0.1]" in shown
    assert "[default: 9464]" in shown


def test_nothing_of_it_is_loaded_without_being_asked_for(environment):
    code = "import sys, costscope.cli.app; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def _replace(file, text):
    """As editors do: nobody reads half of it."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def _spend_of_tenants(url, number):
    from costscope.ledger import Reserve, new_id
    from costscope.policy.load.loader import parse_policy
    from costscope.policy.resolve.accounts import account
    from costscope.stores import open_store

    policy = parse_policy("budgets: [{id: tenant-day, per: [tenant], period: daily, limits: {cost: '5'}}]")
    store = open_store(url)
    now_ms = store.snapshot().now_ms
    for at in range(number):
        where = (account(policy.budgets[0], {"tenant": f"t{at}"}, now_ms),)
        store.execute([Reserve(new_id(), where, {"cost": 10**7}, 600_000)])
    store.close()
