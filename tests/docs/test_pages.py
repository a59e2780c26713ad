"""README.md and docs/: their code runs, their links lead somewhere, and they speak of nobody's machine."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_OR_SHOWN = {"python", "output", "yaml", "toml", "console", "sh", "text", "lua"}
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MACHINE = re.compile(r"(?<![\w.])/(home|root|work|tmp|Users|var|opt|mnt)/|127\.0\.0\.1|[A-Z]:\\")


def page_ids(page: Path) -> str:
    return page.name


@pytest.fixture(params=PAGES, ids=page_ids)
def page(request) -> Path:
    return request.param


def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page, run_page):
    run_page(page)


def test_every_block_has_a_language_that_is_run_or_shown_on_purpose(page):
    languages = {language for language, _ in FENCE.findall(page.read_text(encoding="utf-8"))}
    assert languages <= RUN_OR_SHOWN


def test_links_lead_somewhere(page):
    """Internal ones: the file is there, and the heading in it."""
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("https://", "http://")):
            continue
        place, _, heading = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in anchors(file), f"{page.name} links to {target}, which has no such heading"


def test_a_page_names_no_path_of_a_machine(page):
    assert not MACHINE.search(page.read_text(encoding="utf-8"))


def test_every_page_of_the_docs_is_linked_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name}" in index


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub makes of the headings of a page."""
    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
