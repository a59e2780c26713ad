"""Lines for the log: one a record, whatever is in it, and no louder than it deserves."""

from __future__ import annotations

import logging

import pytest
from happenings import EVERY_KIND, happening

from costscope.events import (
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
    level_of,
    line_of,
)

LINES = {
    ThresholdCrossed: "budget tenant-month has passed 80% of its cost: spent EUR 0.70, held EUR 0.10, "
    "remaining EUR 0.20, limit EUR 1.00 (tenant=acme)",
    CallRefused: "model gpt-4o was refused: exhausted: nothing is left (tenant=acme)",
    CallDegraded: "tool search went above the tool_calls of budget team: spent 1,000, held 1, limit 1,000 "
    "(tenant=acme)",
    Downgraded: "gpt-4o was called as gpt-4o-mini: 80% of tenant-month (tenant=acme)",
    RunawayDetected: "run r-1 seems out of control: 3 calls failed one after the other (tenant=acme)",
    CallSettled: "model gpt-4o has ended: ok, EUR 0.000001 (tenant=acme)",
    RunStarted: "run r-1 was admitted (tenant=acme)",
    RunEnded: "run r-1 has ended, completed; EUR 0.01 in 1.2 s (tenant=acme)",
    AccountReset: "budget team was reset: a wrong price; forgiven: cost EUR 0.000000005, tool_calls 2 "
    "(tenant=acme)",
    PolicyReloaded: "the policy budgets.yaml is in force (tenant=acme)",
}


@pytest.mark.parametrize("record", EVERY_KIND)
def test_the_line_says_what_happened(record):
    assert line_of(happening(record), "EUR") == LINES[record]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            happening(Downgraded, max_tokens=1000, saved=2_000_000, labels={}),
            "gpt-4o was called as gpt-4o-mini with at most 1,000 tokens: 80% of tenant-month, USD 0.002 less",
        ),
        (
            happening(ThresholdCrossed, message="ask Ann for more", labels={}),
            (
                "budget tenant-month has passed 80% of its cost: spent USD 0.70, held USD 0.10, "
                "remaining USD 0.20, limit USD 1.00; ask Ann for more"
            ),
        ),
        (
            happening(CallRefused, enforced=False, labels={}),
            "model gpt-4o would have been refused: exhausted: nothing is left",
        ),
        (
            happening(PolicyReloaded, accepted=False, problem="line 3: no limit", labels={}),
            "the policy budgets.yaml was refused, the old one stays: line 3: no limit",
        ),
        (
            happening(RunEnded, status="halted", reason="runaway", labels={}),
            "run r-1 has ended, halted: runaway; USD 0.01 in 1.2 s",
        ),
        (
            happening(AccountReset, forgiven={}, labels={}),
            "budget team was reset: a wrong price; forgiven: nothing",
        ),
    ],
)
def test_what_is_not_always_said(event, line):
    assert line_of(event) == line


@pytest.mark.parametrize("forged", ["a\nERROR all is lost", "a\r\n", "\x1b[2J", "\u2028", "\ud800", "\x00"])
def test_a_name_cannot_forge_a_line(forged):
    for event in (happening(CallRefused, name=forged), happening(RunStarted, labels={"run": forged})):
        line = line_of(event)
        assert line.isprintable()
        assert len(line.splitlines()) == 1
        line.encode()


def test_letters_of_every_alphabet_stay_readable():
    assert "Åsa 日本" in line_of(happening(RunStarted, run="Åsa 日本"))


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (happening(ThresholdCrossed), logging.WARNING),
        (happening(ThresholdCrossed, actions=("callback",)), logging.DEBUG),
        (happening(RunawayDetected), logging.WARNING),
        (happening(RunawayDetected, actions=()), logging.DEBUG),
        (happening(CallRefused), logging.INFO),
        (happening(CallDegraded), logging.INFO),
        (happening(Downgraded), logging.INFO),
        (happening(RunStarted), logging.DEBUG),
        (happening(RunEnded), logging.INFO),
        (happening(RunEnded, status="failed"), logging.INFO),
        (happening(RunEnded, status="halted"), logging.WARNING),
        (happening(RunEnded, status="abandoned"), logging.WARNING),
        (happening(AccountReset), logging.WARNING),
        (happening(PolicyReloaded), logging.INFO),
        (happening(PolicyReloaded, accepted=False), logging.ERROR),
        (happening(CallSettled), logging.NOTSET),
    ],
)
def test_how_loud_it_is(event, level):
    assert level_of(event) == level
