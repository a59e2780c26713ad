"""docs/contributing.md names what exists, and says where to go for enough."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
PATHS = re.findall(r"`((?:costscope|backends|tests|docs|benchmarks)/[\w./-]+)`", PAGE)


def test_every_path_it_names_exists():
    assert [path for path in PATHS if not (ROOT / path).exists()] == []
    assert len(PATHS) > 60


def test_it_says_of_twenty_changes_where_they_belong():
    table = PAGE.split("## To change something")[1].split("\n## ")[0]
    assert sum(row.startswith("| ") for row in table.splitlines()) - 2 >= 20


def test_the_shape_of_the_source_on_the_page_of_design_is_that_of_the_source():
    shape = (
        (ROOT / "docs/design.md")
        .read_text(encoding="utf-8")
        .split("```text\ncostscope/")[1]
        .split("backends/")[0]
    )
    shown = set(re.findall(r"^  (\w+)(?:/|\.py)", shape, re.MULTILINE)) | set(re.findall(r"(\w+)\.py", shape))
    there = {path.stem for path in (ROOT / "costscope").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert shown == {name for name in there if not name.startswith("__")}
