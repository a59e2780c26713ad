"""What the scripts share with the Python ledger is written into them, and cannot differ."""

from __future__ import annotations

import re

import pytest

from costscope.errors import DENIALS, LEDGER_DENIALS
from costscope.ledger import LEASE_MAX_MS, METERS, PRESUMED_KEEP_MS
from costscope_valkey import tables
from costscope_valkey.codec import source_of


@pytest.mark.parametrize("name", ["ledger", "board", "snapshot"])
def test_nothing_is_left_to_be_filled_in(name):
    assert re.findall(r"\$[A-Z]+", source_of(name)) == []


def test_the_script_has_the_meters_the_slots_and_the_refusals_of_the_ledger():
    source = source_of("ledger")
    assert f"{{{', '.join(repr(name) for name in METERS)}}}" in source
    assert "RUN_SLOTS, CALL_SLOTS = 9, 10" in source
    assert f"LEASE_MAX, PRESUMED_KEEP = {LEASE_MAX_MS}, {PRESUMED_KEEP_MS}" in source
    ranks = [DENIALS[kind].rank for kind in ("in_flight", "exhausted", "never_fits")]
    assert ranks == [1, 2, 3] == sorted({DENIALS[kind].rank for kind in LEDGER_DENIALS})
    assert "IN_FLIGHT, EXHAUSTED, NEVER_FITS = 1, 2, 3" in source


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="NO_SUCH"):
        tables.fill_in("local a = $NO_SUCH")


def with_letters(letters):
    rows = zip(METERS.items(), letters, strict=True)
    return {name: row._replace(letter=letter) for (name, row), letter in rows}


@pytest.mark.parametrize("letters", ["bacdefghijk", "abcdefghijj", "abcdefghikl"])
def test_letters_out_of_order_stop_the_start(letters, monkeypatch):
    monkeypatch.setattr(tables, "METERS", with_letters(letters))
    with pytest.raises(ValueError, match=f"letters of the meters are {letters}"):
        tables.check_meters()


def test_more_meters_than_the_script_can_count_stop_the_start(monkeypatch):
    row = METERS["cost"]
    more = METERS | {f"more {letter}": row._replace(letter=letter) for letter in "lmn"}
    monkeypatch.setattr(tables, "METERS", more)
    with pytest.raises(ValueError, match="14 meters"):
        tables.check_meters()


def test_a_slot_that_the_script_does_not_know_stops_the_start(monkeypatch):
    monkeypatch.setattr(tables, "SLOTS", frozenset({"concurrent_runs"}))
    with pytest.raises(ValueError, match="slots are concurrent_runs"):
        tables.check_meters()
