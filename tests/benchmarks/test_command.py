"""`python -m benchmarks` as a user runs it; what it measures is never judged here."""

import json
import subprocess
import sys

import pytest


def test_a_quick_run_of_one_subject_prints_a_table_and_writes_json(checkout, tmp_path):
    results = tmp_path / "new folder" / "results.json"
    words = [sys.executable, "-m", "benchmarks", "--quick", "--only", "memory-call", "--json", str(results)]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=True)
    assert "against the bare function" in done.stdout
    document = json.loads(results.read_text())
    assert document["quick"] is True
    assert list(document["subjects"]) == ["memory-call"]
    for row in document["subjects"]["memory-call"]:
        assert row["ours"] > row["floor"] > 0
        assert row["of_least"] <= row["ours"]
    assert document["subjects"]["memory-call"][0]["target"] == {"sense": "at most", "bound": 6}


@pytest.mark.parametrize("rich", [True, False])
def test_the_table_needs_no_rich(harness, monkeypatch, capsys, rich):
    from benchmarks.report import show

    if not rich:
        monkeypatch.setitem(sys.modules, "rich.table", None)
    figure = harness.Figure(
        "pairs, 256 tasks", 1.42, "x", 2.07, 25_522.4, 18_501, "/s", "PING", harness.Target("at least", 3)
    )
    show("Many tasks", [figure])
    shown = capsys.readouterr().out
    for text in (
        "Many tasks",
        "pairs, 256 tasks",
        "against PING",
        "25,522 /s",
        "18,501 /s",
        "1.42 x",
        "2.07",
        "at least 3",
        "NO",
    ):
        assert text in shown


def test_an_unknown_subject_is_refused(checkout):
    words = [sys.executable, "-m", "benchmarks", "--only", "everything"]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "memory-call" in done.stderr
