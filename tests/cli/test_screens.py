"""Bars and short amounts: what a person reads must not mislead."""

import io

import pytest
from rich.console import Console

from costscope.cli.demo.progress import Entry, Progress
from costscope.cli.demo.provider import Provider
from costscope.cli.demo.scenario import Scenario
from costscope.cli.demo.screen import DemoScreen, live_view
from costscope.cli.widgets import bar, percent
from costscope.ledger import Counters, Snapshot, SnapshotAccount
from costscope.observe.reports.account_rows import account_rows
from costscope.observe.reports.as_json import short_amount, short_money


@pytest.mark.parametrize(
    ("spent", "held", "limit", "drawn"),
    [
        (0, 0, 100, ".........."),
        (1, 0, 100, "#........."),
        (0, 1, 100, "+........."),
        (1, 1, 100, "#........."),
        (50, 20, 100, "#####++..."),
        (100, 0, 100, "##########"),
        (130, 20, 100, "#########+"),
        (0, 0, 0, ".........."),
        (1, 0, 0, "##########"),
    ],
)
def test_a_bar_shows_spent_held_and_free(spent, held, limit, drawn):
    assert bar(spent, held, limit, 10, ascii_only=True).plain == drawn


def test_percent_is_to_the_nearest_and_full_for_a_limit_of_zero():
    assert [percent(*pair) for pair in ((0, 7), (1, 3), (2, 3), (7, 7), (9, 7), (0, 0))] == [
        0,
        33,
        67,
        100,
        129,
        100,
    ]


def test_short_money_rounds_up_so_that_something_never_reads_as_nothing():
    assert short_money(0) == "0.0000"
    assert short_money(1) == "0.0001"
    assert short_money(12_800_000_000) == "12.8000"
    assert short_money(1_234_567_890_000) == "1,234.57"
    assert short_amount("tokens", 1234567) == "1,234,567"


def test_accounts_are_sorted_as_people_look_for_them():
    def account(key, about):
        return SnapshotAccount(key, about, 0, {"cost": Counters()})

    def about(budget, labels, start=0):
        import json

        return json.dumps(
            {"budget": budget, "labels": labels, "period": "daily" if start else "total", "start_ms": start,
             "end_ms": start and start + 1, "limits": {"cost": 1}}
        )  # fmt: skip

    keys = {
        "5": about("~scope", {"run": "r"}),
        "3": about("team-day", {"team": "b"}),
        "2": about("team-day", {"team": "a"}, start=2000),
        "1": about("team-day", {"team": "a"}, start=1000),
        "4": "not JSON",
    }
    rows = account_rows(Snapshot(0, tuple(account(*item) for item in keys.items()), ()))
    assert [row.key for row in rows] == ["4", "1", "2", "3", "5"]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_live_tree_fits_the_terminal(columns):
    scenario = Scenario(4, 16, 400, 25_600_000_000_000, 1, 3.0, 3)
    console = Console(file=io.StringIO(), width=columns)
    progress = Progress(scenario, Provider())
    progress.entries = {("acme",): Entry(5_000_000_000_000, 1_000_000_000_000)}
    progress.note("something " * 30)
    console.print(live_view(progress, console))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert sum("░" in line for line in lines) == 10, "three tenants, six workflows, the legend"
    assert any(" 47%" in line for line in lines)


def test_a_screen_without_a_terminal_tells_each_event_once():
    console = Console(file=io.StringIO(), width=80)
    progress = Progress(Scenario(1, 1, 1, 1, 1, 3.0, None), Provider())
    with DemoScreen(console=console) as screen:
        screen.show(progress)
        progress.note("first")
        screen.show(progress)
        screen.show(progress)
        progress.note("second")
        screen.show(progress)
    assert [line.split()[-1] for line in console.file.getvalue().splitlines()] == ["first", "second"]
