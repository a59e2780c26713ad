"""What a person sees of the demo: it fits a terminal of 80 columns and 24 lines, and hides nothing that went wrong."""

import io
from collections import Counter

import pytest
from demos import RUNS, TENANTS, ended_demo, verdict
from rich.console import Console

from costscope.cli.demo.progress import Places
from costscope.cli.demo.screen import DemoScreen, live_view

LONGEST = "acme-day at 95% (12,345.67 of 12,345.67 USD): downgrade_model, limit_capabilities"


def printed(width, show, *, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    show(Console(file=file, width=width, force_terminal=False))
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


@pytest.fixture
def progress():
    """In the middle of a demo: every limit is spent."""
    progress = ended_demo(most_taken=Counter())
    progress.look(progress.entries, progress.places)
    for number in range(20):
        progress.note(f"{LONGEST} {number}")
    return progress


@pytest.mark.parametrize(("width", "encoding"), [(80, "utf-8"), (80, "ascii"), (132, "utf-8")])
def test_the_live_picture_fits_the_terminal(progress, width, encoding):
    lines = printed(width, lambda console: console.print(live_view(progress, console)), encoding=encoding)
    assert len(lines) <= 23
    assert max(map(len, lines)) <= width
    assert "510 completed, 0 failed, 2 halted, 0 abandoned, 0 refused" in "\n".join(lines)
    assert "thresholds crossed: 9   downgraded calls: 7   runaways: 2" in lines


def test_the_books_say_how_many_runs_go_on(progress):
    progress.look(progress.entries, dict.fromkeys(TENANTS, Places(9, 9, 4, 16)))
    lines = printed(80, lambda console: console.print(live_view(progress, console)))
    assert any(line.startswith("runs: 12 now, ") for line in lines)
    assert progress.most_taken == dict.fromkeys(TENANTS, 4)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_tables_and_the_sums_fit_80_columns_uncut(encoding):
    killed = ended_demo(killed=1, unanswered=16)
    killed.ended[RUNS["cedar"][0]] = "abandoned"
    lines = printed(
        80, lambda console: DemoScreen(console=console).finish(verdict(killed), None), encoding=encoding
    )
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    assert "..." not in text
    assert "thresholds        9, each once: acme 50 80 95, birch 50 80 95, cedar 50 80 95 %" in lines
    assert "downgrades        7 calls to a cheaper model, 0.0010 USD saved" in lines
    assert "runaways          agent-01.2 halted after 10 calls (repeats)" in lines
    assert f"{'':18}agent-01.3 halted after 3 calls (failures)" in lines
    rows = [line.replace("|", " ").split() for line in lines]
    assert next(row for row in rows if row[:1] == ["all"]) == ["all", "512", "509", "0", "2", "1", "0"]
    assert lines[-1] == "over budget: 0.00"


def test_a_broken_promise_is_said_below_the_sums():
    twice = ended_demo()
    crossing = next(iter(twice.crossed))
    twice.crossed[crossing] = 2
    lines = printed(80, lambda console: DemoScreen(console=console).finish(verdict(twice), None))
    text = " ".join(lines)
    assert "broken promise: acme-day crossed 50% once: the stream told of it 2 times" in text
    assert "NOT EACH ONCE" in text
