"""Names and numbers that every store reads alike."""

from __future__ import annotations

import pytest

from costscope.errors import InvalidInput
from costscope.ledger.times import KEEP_MAX_MS
from costscope.stores.coordination.board_state import kept_ms, place_key, place_of


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("a#b", ("a", "#b")),
        ("a#b#c", ("a", "#b#c")),
        ("a", ("a", "")),
        ("#b", ("", "#b")),
        ("", ("", "")),
        ("a#", ("a", "#")),
    ],
)
def test_a_group_ends_at_the_first_sign(key, parts):
    assert place_key(key) == parts
    assert "".join(parts) == key


def test_times_are_from_nothing_to_a_hundred_years():
    assert (kept_ms(-5), kept_ms(0), kept_ms(7)) == (0, 0, 7)
    assert kept_ms(2**63) == KEEP_MAX_MS
    assert KEEP_MAX_MS * 3 < 2**53, "what a script adds to its clock stays exact"


def test_places_are_compared_as_numbers():
    assert place_of("9-0") < place_of("10-0") < place_of("10-2") < place_of("10-10")


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "1-2-3", "a-b", "\uff11-2", "1 -2", "1" * 20 + "-0"]
)
def test_what_is_no_place_is_refused_and_shown(text):
    with pytest.raises(
        InvalidInput, match=r"no place in the stream; take one from `Published\.place`"
    ) as caught:
        place_of(text)
    assert repr(text) in str(caught.value)
