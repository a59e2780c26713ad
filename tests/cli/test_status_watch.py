"""`costscope status --watch`: rates, forecasts, what happened last, at 80 columns."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import io
import math
import os
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest
from books_of import DAY_MS, NOON_MS, account, snapshot
from programs import started
from rich.console import Console

from costscope.cli.status_watch import WatchScreen
from costscope.cli.widgets import outlook, pace, span
from costscope.ledger import Counters
from costscope.observe.events.records import RunawayDetected
from costscope.observe.reports.account_rows import MeterRow, account_rows
from costscope.observe.reports.forecast import BurnRates, Forecast
from costscope.policy.load.loader import parse_policy

USD = 10**9
MONTH = (NOON_MS - 12 * DAY_MS, NOON_MS + 18 * DAY_MS)


def screen(*moments, events=(), width=80, height=None, problem="", policy=None):
    """The text of the screen after these lists of accounts, a minute apart."""
    rates = BurnRates()
    for minutes, accounts in enumerate(moments):
        books = snapshot(*accounts, now_ms=NOON_MS + minutes * 60_000, holds=2)
        rates.observe(books.now_ms, account_rows(books))
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None)
    shown = WatchScreen("valkey://here", books, policy, rates, list(events), problem=problem)
    console.print(shown, height=height)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def month(spent, tenant="acme", limit=50 * USD, **more):
    return account(
        "tenant-month",
        {"tenant": tenant},
        window=MONTH,
        limits={"cost": limit},
        meters={"cost": spent},
        **more,
    )


def line_with(lines, text):
    found = [line for line in lines if text in line]
    assert len(found) == 1, lines
    return found[0]


def test_a_budget_that_will_not_last_says_when_it_ends_and_how_long_before_the_reset():
    lines = screen([month(20 * USD)], [month(20 * USD + 6 * USD // 10)])
    assert "exhausted in" in (note := line_with(lines, "/min"))
    assert note.strip() == "0.1209/min  exhausted in 4 h 3 min, 17 d 19 h before the reset"


def test_a_budget_that_lasts_says_how_full_it_will_be():
    accounts = [month(USD)]
    assert line_with(screen(accounts, accounts), "lasts").strip().endswith("at the reset in 17 d 23 h")


def test_an_idle_budget_takes_no_second_line():
    still = [account(window=(0, 0), meters={"cost": USD // 2})]
    lines = screen(still, still)
    assert not [line for line in lines if "/min" in line or "exhausted" in line]


def test_an_exhausted_budget_says_when_it_begins_anew():
    assert line_with(screen([month(50 * USD)]), "exhausted").strip() == "exhausted, resets in 18 d"


def test_the_last_events_are_one_line_each():
    moment = dt.datetime.fromtimestamp(NOON_MS / 1000, dt.UTC)
    event = RunawayDetected(
        id="1",
        at=moment,
        labels={"tenant": "acme"},
        run="r-1",
        reason="repeats",
        detail="",
        measured=11,
        allowed=10,
    )
    lines = screen([month(1)], events=[event])
    assert (
        line_with(lines, "runaway")
        == "12:00:00  runaway    r-1: repeats, 11 where 10 is allowed  tenant=acme"
    )


def test_windows_and_runs_that_are_over_are_counted_and_not_shown():
    yesterday = (NOON_MS - 36 * 3_600_000, NOON_MS - 12 * 3_600_000)
    run = account("~run", {"run": "r-1"}, window=(0, 0), meters={"cost": 7})
    lines = screen([month(1), account("old", window=yesterday), run])
    assert not [line for line in lines if line.startswith(("old", "run"))]
    assert line_with(lines, "3 accounts").startswith("3 accounts (2 over or idle), 2 live holds")


def test_a_run_that_holds_something_is_shown_and_an_order_to_stop_too():
    run = account("~run", {"run": "r-1"}, window=(0, 0), meters={"cost": (7, 1), "halts": 1})
    assert "halted" in line_with(screen([run]), "run=r-1")


@pytest.mark.parametrize("height", [12, 24, 50])
def test_a_terminal_shows_what_is_closest_to_its_limit_and_the_events(height):
    accounts = [month(at * USD, f"t{at:02}") for at in range(41)]
    event = RunawayDetected(
        id="1",
        at=dt.datetime.fromtimestamp(NOON_MS / 1000, dt.UTC),
        run="r",
        reason="repeats",
        detail="",
        measured=1,
        allowed=1,
    )
    lines = screen(accounts, events=[event], height=height)
    assert height - 4 < len(lines) <= height, "there is room for one more account, or too little for these"
    assert line_with(lines, "tenant=t40")
    assert not [line for line in lines if "tenant=t00" in line]
    assert line_with(lines, "further from their limits")
    assert line_with(lines, "runaway")
    assert line_with(lines, "live hold")


def test_a_budget_that_refuses_nothing_says_so():
    policy = parse_policy(
        "budgets: [{id: tenant-month, per: [tenant], period: monthly, limits: {cost: 50}, enforcement: shadow}]"
    )
    assert "shadow" in line_with(screen([month(60 * USD)], policy=policy), "tenant=acme")
    assert "shadow" not in line_with(screen([month(60 * USD)]), "tenant=acme")


def test_what_cannot_be_refreshed_says_why():
    assert line_with(screen([month(1)], problem="no answer"), "not refreshed: no answer")


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width):
    labels = {"tenant": "a-tenant-with-a-rather-long-name", "workflow": "quarterly-report", "agent": "writer"}
    first, then = (
        [account("b", labels, window=MONTH, limits=dict.fromkeys(meters, 10**7), meters=meters)]
        for meters in ({"output_tokens": (5, 1)}, {"output_tokens": (999_999, 12_345)})
    )
    lines = screen(first, then, width=width)
    assert max(map(len, lines)) <= width
    assert line_with(lines, "before the reset"), "nor is the forecast cut"


@pytest.mark.parametrize(
    ("rate", "ahead", "words"),
    [
        (None, Forecast(1, 0.5, None, 9.0, None), ""),
        (0.0, Forecast(1, 0.5, math.inf, 9.0, 0.5), ""),
        (1.0, None, "60/min"),
        (1.0, Forecast(60, 0.5, 60.0, None, None), "60/min  exhausted in 1 min"),
        (1.0, Forecast(60, 0.5, 60.0, 90.0, 1.2), "60/min  exhausted in 1 min, 30 s before the reset"),
        (1.0, Forecast(60, 0.5, 60.0, 30.0, 0.75), "60/min  lasts: 75% at the reset in 30 s"),
        (None, Forecast(0, 1.0, 0.0, None, None), "exhausted"),
        (10.0, Forecast(3, 0.99, 0.3, 90.0, 9.0), "exhausted, resets in 1 min 30 s"),
    ],
)
def test_forecasts_in_words(rate, ahead, words):
    assert outlook(MeterRow("tool_calls", Counters(), 9), rate, ahead).plain == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (45, "45 s"),
        (60, "1 min"),
        (11_400, "3 h 10 min"),
        (3_601, "1 h"),
        (187_200, "2 d 4 h"),
        (86_400 * 40 + 59, "40 d"),
        (math.inf, "more than 100 years"),
    ],
)
def test_spans_have_at_most_two_units(seconds, words):
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("meter", "rate", "words"),
    [
        ("cost", 0.0002 * USD, "0.0120/min"),
        ("cost", 0.00001 * USD, "0.0360/h"),
        ("cost", 1e-6 * USD, "0.0864/d"),
        ("cost", 1.0, "under 0.01/d"),
        ("cost", 5 * USD, "300/min"),
        ("tokens", 1000.0, "60,000/min"),
        ("tool_calls", 0.05, "3.0/min"),
        ("tool_calls", 0.001, "3.6/h"),
        ("tool_calls", 1e-9, "under 1/d"),
    ],
)
def test_a_pace_is_told_in_the_unit_in_which_it_can_be_read(meter, rate, words):
    assert pace(meter, rate) == words


def test_it_draws_again_and_again_until_interrupted(environment, books):
    _, url = books
    command = [sys.executable, "-m", "costscope", "status", "--watch", "--interval", "0.1", "--store", url]
    with started(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        screens = 0
        for line in process.stdout:
            screens += "live hold" in line
            if screens == 3:
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert process.returncode == 0


def test_on_a_small_terminal_the_last_lines_are_there(environment, books):
    """A real one, with 9 rows: accounts give way, and nothing is cut off below."""
    _, url = books
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 9, 80, 0, 0))
    command = [sys.executable, "-m", "costscope", "status", "--watch", "--store", url]
    asked = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    sized = asked | {"TERM": "xterm"}
    with started(command, stdin=theirs, stdout=theirs, stderr=theirs, env=sized) as process:
        os.close(theirs)
        drawn = b""
        try:
            while b"held" not in drawn.partition(b"further from")[2]:
                drawn += os.read(ours, 65536)
        finally:
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the other end is closed
            while os.read(ours, 65536):
                pass
    os.close(ours)
    assert process.returncode == 0
    corner = "\x1b[H"  # where each frame begins
    frame = next(part for part in drawn.decode().split(corner) if "further from" in part)
    lines = [line.rstrip() for line in re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", frame).splitlines()]
    assert len(lines) == 9
    assert line_with(lines, "1 live hold")


def test_it_goes_on_when_the_server_is_away(environment, books):
    server, url = books
    command = [sys.executable, "-m", "costscope", "status", "--watch", "--interval", "0.1", "--store", url]
    with started(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        away = False
        for line in process.stdout:
            if "live hold" in line and not away:
                server.kill()
                away = True
            if "not refreshed" in line:
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert away
    assert process.returncode == 0
