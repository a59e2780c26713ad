"""The board in Python beyond what every store must do: its clock is told, and it forgets what is over."""

from __future__ import annotations

import importlib

import pytest

from costscope.board import (
    AckDeliveries,
    Board,
    CallCounts,
    Forget,
    LeaseDeliveries,
    Pace,
    Publish,
    ReadEvents,
    RecordCall,
    SetOnce,
)
from costscope.ledger.times import DELIVERY_KEEP_MS, EVENTS_KEEP_MS
from costscope.stores.coordination.operations import DELIVERIES_MAX

START = 1_800_000_000_000


class Told:
    """A board and the time it is told."""

    def __init__(self) -> None:
        self.board = Board()
        self.now_ms = START

    def __call__(self, op):
        return self.board.apply(op, self.now_ms)


@pytest.fixture
def tell() -> Told:
    return Told()


def test_a_mark_stands_to_the_millisecond(tell):
    assert tell(SetOnce("g#x", "", 10)) == str(START)
    tell.now_ms += 9
    assert tell(SetOnce("g#x", "", 10)) == str(START)
    tell.now_ms += 1
    assert tell(SetOnce("g#x", "", 10)) == str(START + 10)


def test_a_time_of_nothing_remembers_nothing(tell):
    assert [tell(SetOnce("g#x", value, 0)) for value in ("a", "b")] == ["a", "b"]
    assert [tell(RecordCall("r", "d", True, 0)).failures for _ in range(2)] == [1, 1]
    assert [tell(Publish(f"{at}", "{}", "g#p", 0)) for at in range(2)] == [True, True]
    assert [tell(Pace("g", 0, 0)) for _ in range(2)] == [0, 0]


def test_a_time_beyond_all_times_is_for_ever(tell):
    tell(SetOnce("g#x", "a", 2**62))
    tell.now_ms += 99 * 365 * 86_400_000
    assert tell(SetOnce("g#x", "b", 1)) == "a"


def test_a_line_keeps_its_places_to_the_millisecond(tell):
    assert [tell(Pace("g", 100, 1000)) for _ in range(3)] == [0, 100, 200]
    tell.now_ms += 150
    assert tell(Pace("g", 100, 149)) == -1
    assert tell(Pace("g", 100, 150)) == 150
    tell.now_ms += 250
    assert tell(Pace("g", 100, 0)) == 0


def test_a_line_may_change_its_pace(tell):
    """Who comes after the change waits for the place as it was given before."""
    tell(Pace("g", 1000, 0))
    assert tell(Pace("g", 10, 5000)) == 1000
    assert tell(Pace("g", 10, 5000)) == 1010


def test_notes_live_on_from_the_last_one(tell):
    for _ in range(5):
        tell.now_ms += 90
        noted = tell(RecordCall("r", "d", True, 100))
    assert noted == CallCounts(5, 5, 5, active_ms=360)
    tell.now_ms += 100
    assert tell(RecordCall("r", "d", True, 100)) == CallCounts(1, 1, 1)


def test_a_long_pause_counts_as_a_minute_of_activity(tell):
    for pause_ms, active_ms in ((0, 0), (59_999, 59_999), (0, 59_999), (60_001, 119_999), (10**9, 179_999)):
        tell.now_ms += pause_ms
        assert tell(RecordCall("r", "", False, 10**10)).active_ms == active_ms


def test_the_stream_is_forgotten_after_35_days_without_a_publication(tell):
    tell(Publish("1", "one"))
    tell.now_ms += EVENTS_KEEP_MS - 1
    assert tell(Publish("1", "again")) is False
    assert [one.record for one in tell(ReadEvents())] == ["one"]
    tell.now_ms += 1
    assert tell(ReadEvents()) == []
    assert tell(Publish("1", "again")) is True


def test_places_grow_when_the_clock_is_set_back(tell):
    tell(Publish("1", "one"))
    tell.now_ms -= 5000
    tell(Publish("2", "two"))
    first, second = tell(ReadEvents())
    assert tell(ReadEvents(10, first.place)) == [second]


def test_a_delivery_is_given_up_after_7_days(tell):
    tell(Publish("1", "{}", deliver=("ops",)))
    tell.now_ms += DELIVERY_KEEP_MS - 1
    assert [one.attempt for one in tell(LeaseDeliveries(0))] == [1]
    tell.now_ms += 1
    assert tell(LeaseDeliveries(0)) == []
    assert tell(AckDeliveries(("1:ops",))) == 0


def test_the_oldest_of_too_many_deliveries_are_given_up(tell):
    names = tuple(f"hook-{at}" for at in range(1000))
    for at in range(DELIVERIES_MAX // 1000):
        tell(Publish(f"{at}", "{}", deliver=names))
    assert len(tell.board._deliveries) == DELIVERIES_MAX
    tell(Publish("last", "{}", deliver=("ops",)))
    assert len(tell.board._deliveries) == DELIVERIES_MAX
    assert tell(AckDeliveries(("0:hook-0", "0:hook-1", "last:ops"))) == 2


def test_nothing_grows_for_ever(tell):
    """Runs, groups, records and deliveries come and go by the thousand; what is over is dropped on the way."""
    for at in range(20_000):
        tell.now_ms += 10
        tell(SetOnce(f"g{at}#x", "v", 1000))
        tell(RecordCall(f"r{at}", f"d{at}", True, 1000))
        tell(RecordCall("one", f"d{at}", True, 1000))
        tell(Pace(f"g{at}", 1000, 0))
        tell(Publish(f"{at}", "{}", f"g{at}#p", 1000, deliver=("ops",)))
        tell(AckDeliveries((f"{at}:ops",)))
        tell(SetOnce("kept#x", "v", 2**40))
        tell(Forget("kept"))
    board = tell.board
    assert len(board._marks) <= 202
    assert len(board._marks._groups) <= 101
    assert len(board._runs) <= 102
    assert len(board._paces) <= 102
    assert 1000 <= len(board._log) <= 2000
    assert len(board._log._ids) == 1000
    assert len(board._deliveries) == 0
    assert len(board._runs.get("one").value._times) <= 32
    queued = board._marks._marks._turns + board._runs._turns + board._paces._turns
    assert len(queued) < 1500


def test_what_nobody_asks_for_is_dropped_as_well(tell):
    tell(SetOnce("g#x", "v", 10))
    tell(RecordCall("r", "d", True, 10))
    tell(Pace("g", 10, 0))
    tell(Publish("1", "{}", deliver=("ops",)))
    tell.board.collect(START + EVENTS_KEEP_MS)
    board = tell.board
    kept = (board._marks, board._runs, board._paces, board._log, board._deliveries)
    assert [len(one) for one in kept] == [0] * 5


@pytest.mark.parametrize(
    ("first_name", "name"),
    [
        ("First", "SetOnce"),
        ("Recent", "ReadEvents"),
        ("Take", "LeaseDeliveries"),
        ("Ack", "AckDeliveries"),
        ("Note", "RecordCall"),
        ("Noted", "CallCounts"),
    ],
)
def test_the_names_that_operations_had_first_go_on_working(first_name, name):
    face = importlib.import_module("costscope.board")
    assert getattr(face, first_name) is getattr(face, name)
    assert {first_name, name} <= set(face.__all__)
