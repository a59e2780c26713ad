"""Entries that go when their time is over."""

from __future__ import annotations

import random

import pytest

from costscope.stores.coordination.board_state import Expiring


@pytest.fixture
def entries() -> Expiring[str, int]:
    return Expiring()


def test_an_entry_stands_until_its_time(entries):
    entries.put("a", 1, 10)
    assert entries.collect(9) == ()
    assert entries.get("a").value == 1
    assert entries.collect(10) == ["a"]
    assert entries.get("a") is None
    assert len(entries) == 0


def test_the_soonest_goes_first(entries):
    for key, until in (("late", 30), ("soon", 10), ("middle", 20)):
        entries.put(key, 0, until)
    assert entries.collect(25) == ["soon", "middle"]


def test_an_entry_that_was_prolonged_stands_longer(entries):
    entries.put("a", 1, 10).until_ms = 20
    assert entries.collect(10) == []
    assert entries.get("a").until_ms == 20
    assert entries.collect(20) == ["a"]


def test_an_entry_that_was_replaced_goes_with_its_own_time(entries):
    entries.put("a", 1, 10)
    entries.put("a", 2, 20)
    assert entries.collect(10) == []
    assert entries.get("a").value == 2
    entries.put("a", 3, 15)
    assert entries.collect(15) == ["a"]


def test_what_is_removed_is_gone_and_does_not_take_its_successor_along(entries):
    entries.put("a", 1, 10)
    assert entries.remove("a") is True
    assert entries.remove("a") is False
    entries.put("a", 2, 50)
    assert entries.collect(10) == []
    assert entries.get("a").value == 2


def test_turns_of_what_was_removed_do_not_pile_up(entries):
    for at in range(10_000):
        entries.put("same", at, 1_000_000)
        entries.remove("same")
        entries.put("other", at, 1_000_000)
    assert len(entries._turns) < 100


def test_it_is_a_dict_with_a_clock():
    """Against the plain way: look at every entry each time."""
    dice = random.Random(5)
    entries: Expiring[int, int] = Expiring()
    plain: dict[int, tuple[int, int]] = {}
    for now in range(3000):
        gone = set(entries.collect(now))
        assert gone == {key for key, (_, until) in plain.items() if until <= now}
        plain = {key: kept for key, kept in plain.items() if key not in gone}
        key, until = dice.randrange(40), now + dice.randrange(60)
        match dice.randrange(4):
            case 0:
                assert entries.remove(key) == (plain.pop(key, None) is not None)
            case 1 if key in plain:
                later = max(plain[key][1], until)
                entries.get(key).until_ms = later
                plain[key] = (plain[key][0], later)
            case _:
                entries.put(key, now, until)
                plain[key] = (now, until)
        assert len(entries) == len(plain)
        assert all(entries.get(key).value == value for key, (value, _) in plain.items())
