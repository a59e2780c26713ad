"""Which calls are the same: by kind, name and arguments, in every process."""

import subprocess
import sys

import pytest

from costscope.metered.build import digest_of

SAME = ("tool", "search", ("words", 5, None), {"limit": 3, "tags": ["a", "b"]})


def test_the_same_call_has_the_same_number_in_every_process():
    code = f"from costscope.metered.build import digest_of; print(digest_of(*{SAME!r}))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == digest_of(*SAME) != 0


@pytest.mark.parametrize(
    "other",
    [
        ("model", "search", ("words", 5, None), {"limit": 3, "tags": ["a", "b"]}),
        ("tool", "find", ("words", 5, None), {"limit": 3, "tags": ["a", "b"]}),
        ("tool", "search", ("word", 5, None), {"limit": 3, "tags": ["a", "b"]}),
        ("tool", "search", ("words", 5), {"limit": 3, "tags": ["a", "b"]}),
        ("tool", "search", ("words", 5, None), {"limit": 4, "tags": ["a", "b"]}),
        ("tool", "search", ("words", 5, None), {"limit": 3, "tags": ["b", "a"]}),
        ("tool", "search", ("words", 5, None), {"limit": 3}),
    ],
)
def test_whatever_differs_makes_another_number(other):
    assert digest_of(*other) not in {0, digest_of(*SAME)}


@pytest.mark.parametrize("thing", [object(), lambda: None, [object()], {"a": {object()}}, "\ud800"])
def test_what_is_no_plain_data_has_none(thing):
    assert digest_of("tool", "t", (thing,), {}) == digest_of("tool", "t", (), {"x": thing}) == 0


def test_a_structure_that_holds_itself_has_none():
    knot: list[object] = []
    knot.append(knot)
    assert digest_of("tool", "t", (knot,), {}) == 0
