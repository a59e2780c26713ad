"""What users may rely on is what golden.json says: every documented name, signature, member, option, word and field.

After a change that is meant (and stands in CHANGELOG.md), review the differences that the test shows, then

    python tests/golden/collect.py --write

and commit golden.json with the change.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GOLDEN = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
MEMBERS = GOLDEN["members"] | {
    name.removeprefix("costscope."): found for name, found in GOLDEN["declared members"].items()
}
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.py")),
]


@pytest.fixture(scope="module")
def found():
    """The surface of the code, collected in a process of its own: no other test has touched it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COSTSCOPE_")}
    script = str(HERE / "collect.py")
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env=plain,
        cwd=ROOT,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{script} failed:\n{done.stderr[-4000:]}"
    return json.loads(done.stdout)


def test_everything_that_is_documented_is_as_it_was(found):
    differences = compared(GOLDEN, found)
    assert not differences, (
        f"{len(differences)} differences to tests/golden/golden.json:\n\n"
        + "\n".join(differences)
        + "\n\nUsers rely on what was removed or changed. If it is all meant, say so in CHANGELOG.md and run:\n"
        "    python tests/golden/collect.py --write"
    )


def compared(before, after, path=()):
    """One line for each difference: `removed`, `changed`, `added` or `failed`, where, and what."""
    if before == after:
        return []
    place = " / ".join(path)
    if isinstance(after, str) and after.startswith("could not be collected"):
        return [f"failed   {place}: {after}"]
    if not isinstance(before, dict) or not isinstance(after, dict):
        was, now = (json.dumps(one)[:1000] for one in (before, after))
        return [f"changed  {place}\n           was {was}\n           is  {now}"]
    lines = []
    for key in sorted({*before, *after}):
        inner = (*path, key)
        if after.get(key, "is missing") == "is missing":
            lines.append(f"removed  {' / '.join(inner)}")
        elif key not in before:
            lines.append(f"added    {' / '.join(inner)}: {json.dumps(after[key])[:200]}")
        else:
            lines += compared(before[key], after[key], inner)
    return lines


def test_a_difference_is_told_by_its_place_and_kind():
    before = {"names": {"a": "x", "b": {"parameters": {"p": "0", "q": "1"}}}}
    before["metrics"] = {"m": "counter"}
    after = {"names": {"c": "x", "b": {"parameters": {"p": "0", "q": "2"}}}}
    after["metrics"] = "could not be collected: TypeError: no (living.py:9)"
    assert compared(before, after) == [
        "failed   metrics: could not be collected: TypeError: no (living.py:9)",
        "removed  names / a",
        'changed  names / b / parameters / q\n           was "1"\n           is  "2"',
        'added    names / c: "x"',
    ]
    assert compared(before, before) == []


def test_nothing_in_it_is_missing():
    """What the collector could not find must not become the norm."""
    for word in ("is missing", "could not be collected", '"refused": '):
        assert word not in json.dumps(GOLDEN)


def imports():
    """`(page, module, name)` of every import of ours in the documentation and the examples."""
    statement = re.compile(r"^ *from (costscope[\w.]*) import (\([^)]*\)|.+)$", re.MULTILINE)
    for page in PAGES:
        for module, listed in statement.findall(page.read_text(encoding="utf-8")):
            for name in re.findall(r"\w+", re.sub(r"#.*", "", listed)):
                yield f"{page.relative_to(ROOT)}: {module}.{name}"


@pytest.mark.parametrize("line", sorted(set(imports())))
def test_every_import_on_a_page_or_in_an_example_is_in_it(line):
    name = line.rpartition(": ")[2]
    module, _, last = name.rpartition(".")
    assert name in GOLDEN["names"] or (module == "costscope" and last in GOLDEN["errors"])


def tables():
    """`(class, member)` of every table of members in docs/api.md."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for title, section in re.findall(r"^### `([\w.]+)`\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL):
        table = re.search(r"^\| member \| meaning \|\n(.*?)^$", section + "\n", re.MULTILINE | re.DOTALL)
        for cell in re.findall(r"^\| (`.*?`) \|", table[1], re.MULTILINE) if table else ():
            for member in re.findall(r"`(\w+)[^`]*`", cell):
                yield title.removeprefix("costscope."), member


def test_every_member_on_the_page_of_the_api_is_in_it():
    listed = set(tables())
    assert len(listed) > 100
    assert [pair for pair in listed if pair[1] not in MEMBERS[pair[0]]] == []


def test_every_variable_on_the_page_of_policies_is_in_it():
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(COSTSCOPE_[A-Z_<>]+)` \|", page, re.MULTILINE)
    assert listed
    for name in listed:
        owner = "OPS" if "_WEBHOOK_" in name else "TENANT_DAY"
        assert name.replace("<NAME>", owner).replace("<LABEL>", "USER") in GOLDEN["variables"]
