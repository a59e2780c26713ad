"""docs/controls.md: each control names a test, and each test, path and name of the API that is on the page is there."""

import ast
import re
from pathlib import Path

import pytest

import costscope
import costscope.webhooks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8")
CONTROLS, _, _ = PAGE.partition("## What is done differently")
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


def test_each_path_that_is_named_is_there():
    paths = set(re.findall(r"`((?:costscope|backends|benchmarks|examples|tests)/[^`:]+)", PAGE))
    assert len({path for path in paths if path.startswith("costscope/")}) >= 5
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


API = re.compile(r"\b(scope|run|runtime|costscope|guard|hold)((?:\.[a-z_]+(?:\(\))?(?![\w/]))+)")


def names_of_the_api(text: str) -> set[str]:
    """`scope.x`, `runtime.x.y`, `scope.summary().x`, in code; a name that begins with a dot belongs to the last owner."""
    names, owner = set(), ""
    for code in re.findall(r"`([^`]+)`", text):
        found = [f"{one}{attributes}" for one, attributes in API.findall(code)]
        if re.fullmatch(r"\.[a-z_]+", code) and owner:
            found = [owner + code]
        elif re.fullmatch(r"summary\(\)(?:\.[a-z_]+)+", code):
            found = [f"scope.{code}"]
        names.update(found)
        owner = found[-1].partition(".")[0] if found else owner
    return names


def test_the_names_of_the_api_are_found_in_their_forms():
    text = "`scope.spent`, `.limit`; `with run.iteration()`, `summary().calls`; `tests/scope/test_reset.py::test_x`"
    assert names_of_the_api(text) == {
        "scope.spent",
        "scope.limit",
        "run.iteration()",
        "scope.summary().calls",
    }


@pytest.mark.parametrize("name", sorted(names_of_the_api(PAGE)))
def test_each_name_of_the_api_is_there(name):
    owner, *attributes = name.split(".")
    with (
        costscope.Runtime() as runtime,
        costscope.Guard(runtime=runtime) as guard,
        costscope.budget_scope(runtime=runtime, run="r", max_cost="1.00") as scope,
        costscope.reserve(tool="t", estimate="0.10", runtime=runtime) as hold,
    ):
        owners = {"runtime": runtime, "guard": guard, "scope": scope, "run": scope, "hold": hold}
        found = (owners | {"costscope": costscope})[owner]
        for attribute in attributes:
            found = getattr(found, attribute.removesuffix("()"))
            if attribute == "summary()":
                found = found()
        hold.release()


def test_scope_limit_is_what_the_page_says():
    with costscope.Runtime() as runtime, costscope.budget_scope(runtime=runtime, max_cost="1.00") as scope:
        assert "scope.limit" in names_of_the_api(PAGE)
        assert str(scope.limit) == "1.00"
