"""docs/controls.md: each control names a test, and each test that is named is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTROLS, _, _ = (
    (ROOT / "docs" / "controls.md").read_text(encoding="utf-8").partition("## What is done differently")
)
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in CONTROLS.splitlines()
    if line.startswith("| ") and not line.startswith(("| control |", "| --- |"))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_tests_that_prove_a_control_are_there(row):
    assert len(row) == 4
    places = re.findall(r"`([^`]+)`", row[-1])
    assert places
    path = ""
    for place in places:
        named, _, name = place.partition("::")
        path = named or path
        assert (ROOT / path).exists(), path
        assert not name or name.split("::")[-1] in _tests(path), f"{path} has no {name}"


def _tests(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_all_five_systems_are_in_it():
    origins = " ".join(row[1] for row in ROWS)
    for system in ("strands-costguard", "hive-finops", "agent-budget-guard", "jeevesagent", "kaizen"):
        assert system in origins
