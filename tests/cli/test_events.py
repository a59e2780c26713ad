"""`costscope events`: the stream of a ledger, printed and followed."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys

import pytest
from programs import started

from costscope.board import Publish
from costscope.cli.events_command import short_line
from costscope.observe.events.records import (
    KINDS,
    AccountReset,
    CallDegraded,
    CallRefused,
    CallSettled,
    Downgraded,
    PolicyReloaded,
    RunawayDetected,
    RunEnded,
    RunStarted,
    ThresholdCrossed,
    decode_event,
    encode_event,
    kind_of,
)

AT = dt.datetime(2026, 11, 25, 5, 4, 12, tzinfo=dt.UTC)
USD = 10**9
ABOUT = {"id": "0", "at": AT, "labels": {"tenant": "acme"}}
LINES = [
    (
        ThresholdCrossed(
            **ABOUT,
            budget="day",
            meter="cost",
            threshold=80,
            spent=USD // 2,
            held=USD * 3 // 10,
            remaining=USD // 5,
            limit=USD,
            window_start=None,
            window_end=None,
        ),
        "threshold  day at 80% of cost: 0.8000 of 1.0000",
    ),
    (
        CallRefused(
            **ABOUT, what="model", name="gpt-4o", kind="exhausted", reason="", budget="day", meter="cost"
        ),
        "denied     model gpt-4o: exhausted by day (cost)",
    ),
    (
        CallRefused(**ABOUT, what="tool", name="search", kind="unpriced", reason="", enforced=False),
        "denied     tool search: would be unpriced",
    ),
    (
        CallDegraded(
            **ABOUT, what="tool", name="search", budget="day", meter="cost", limit=1, spent=1, held=0
        ),
        "degraded   tool search: above day (cost)",
    ),
    (
        Downgraded(
            **ABOUT, asked="gpt-4o", effective="gpt-4o-mini", reason="latency_above", saved=USD // 100
        ),
        "downgrade  gpt-4o -> gpt-4o-mini: latency_above, 0.0100 less",
    ),
    (
        RunawayDetected(**ABOUT, run="r-1", reason="burn_rate", detail="", measured=2.5, allowed=2),
        "runaway    r-1: burn_rate, 2.5 where 2 is allowed",
    ),
    (
        CallSettled(**ABOUT, what="tool", name="search", outcome="ok", cost=USD // 100, held=1),
        "settled    tool search: ok, 0.0100",
    ),
    (RunStarted(**ABOUT, run="r-1"), "run began  r-1"),
    (
        RunEnded(**ABOUT, run="r-1", status="halted", reason="runaway", cost=USD, seconds=75),
        "run ended  r-1: halted (runaway), 1.0000 in 1 min 15 s",
    ),
    (AccountReset(**ABOUT, budget="day", reason="a refund", forgiven={}), "reset      day: a refund"),
    (
        PolicyReloaded(**ABOUT, source="b.yaml", accepted=False, problem="line 3"),
        "policy     b.yaml: refused, line 3",
    ),
]


@pytest.mark.parametrize(
    ("event", "line"), LINES, ids=lambda value: value.split()[0] if isinstance(value, str) else ""
)
def test_a_screen_has_one_line_for_each_kind(event, line):
    assert short_line(event, AT).plain == f"05:04:12  {line}  tenant=acme"


def test_no_kind_is_without_a_line():
    assert {kind_of(event) for event, _ in LINES} == set(KINDS)


def test_an_event_of_another_day_shows_its_date():
    line = short_line(RunStarted(**ABOUT, run="r"), AT + dt.timedelta(days=1)).plain
    assert line.startswith("11-25     run began")


def test_names_from_outside_do_not_move_the_cursor():
    line = short_line(RunStarted(id="0", at=AT, run="r\x1b[2J\n"), AT).plain
    assert line.endswith("r\\x1b[2J\\n")


@pytest.fixture
def stream(tcp_store):
    """The URL of a ledger in which 30 runs have begun; `publish` lets one more begin."""
    from costscope.stores import open_store

    _, url = tcp_store
    store = open_store(url)

    def publish(run):
        event = RunStarted(id=f"id-{run}", at=AT, labels={"tenant": "acme"}, run=run)
        store.tell((Publish(id=event.id, record=encode_event(event)),))

    for at in range(30):
        publish(f"r-{at}")
    yield url, publish
    store.close()


def test_the_last_ones_are_printed_oldest_first(costscope, stream):
    url, _ = stream
    done = costscope("events", "--store", url)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) == 20
    assert lines[0] == "2026-11-25 05:04:12  run_started  run r-10 was admitted (tenant=acme)"
    assert "r-29" in lines[-1]
    assert costscope("events", "--store", url, "--count", "0").out == ""
    assert costscope("events", "--store", url, "--count", "2").out.count("\n") == 2


def test_json_is_one_record_a_line(costscope, stream):
    url, _ = stream
    lines = costscope("events", "--store", url, "--json", "--count", "3").out.splitlines()
    assert [decode_event(line).run for line in lines] == ["r-27", "r-28", "r-29"]
    assert json.loads(lines[0])["type"] == "run_started"


def test_what_this_version_does_not_know_is_passed_over(costscope, stream):
    from costscope.stores import open_store

    url, _ = stream
    store = open_store(url)
    store.tell((Publish(id="new", record='{"type":"from the future"}'),))
    store.close()
    assert "r-29" in costscope("events", "--store", url, "--count", "1").out


def test_following_prints_what_comes_until_interrupted(environment, stream):
    url, publish = stream
    command = [sys.executable, "-m", "costscope", "events", "--follow", "--count", "1", "--store", url]
    with started(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert "r-29" in process.stdout.readline()
        publish("later")
        assert "run later was admitted" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_an_empty_stream_prints_nothing(costscope, tcp_store):
    _, url = tcp_store
    assert costscope("events", "--store", url) == (0, "", "")
