"""Reading a store for scrapes: seldom, bounded in time, and never an exception."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from published import as_dict

from costscope.errors import StoreUnavailable
from costscope.observe.exporter.grouping import Grouping
from costscope.observe.exporter.reading import Reader


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reader(store, clock):
    return Reader(store, Grouping(), clock=clock)


def test_a_reading_has_the_budgets_and_the_ledger(reader):
    found = as_dict(reader.families())
    assert found["exporter_up{}"] == 1
    assert found["budget_spent{budget=day,meter=cost}"] == 0.1
    assert found["audit_differences{}"] == 0
    assert found["events{type=runaway}"] == 0


def test_the_store_is_read_at_most_once_a_second(reader, store, clock):
    for _ in range(5):
        reader.families()
    assert store.looks == 1
    clock.now += 1.0
    reader.families()
    assert store.looks == 2


def test_scrapes_at_the_same_time_share_one_reading(reader, store):
    store.answering.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(reader.families) for _ in range(8)]
        store.answering.set()
        assert {as_dict(each.result())["exporter_up{}"] for each in waiting} == {1}
    assert store.looks == 1


def test_a_store_that_is_away_is_a_zero_and_a_line_in_the_log(reader, store, clock, caplog):
    store.trouble = StoreUnavailable("no answer from valkey")
    for _ in range(3):
        assert as_dict(reader.families()) == {"exporter_up{}": 0}
        clock.now += 2
    assert [each.getMessage() for each in caplog.records] == [
        "memory://stand-in cannot be read: no answer from valkey"
    ]
    store.trouble = None
    assert as_dict(reader.families())["exporter_up{}"] == 1
    assert caplog.records[-1].getMessage() == "memory://stand-in can be read again"


def test_a_mistake_in_the_code_is_logged_with_its_traceback(reader, store, caplog):
    store.trouble = ZeroDivisionError("oh")
    assert as_dict(reader.families()) == {"exporter_up{}": 0}
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


def test_a_store_that_hangs_does_not_hang_the_scrape(store, caplog):
    reader = Reader(store, Grouping(), patience_s=0.01)
    store.answering.clear()
    assert as_dict(reader.families()) == {"exporter_up{}": 0}
    assert as_dict(reader.families()) == {"exporter_up{}": 0}
    assert store.looks == 1, "no second reading is started behind one that hangs"
    assert caplog.messages == ["memory://stand-in cannot be read: no answer within 0.01 s"]
    store.answering.set()


def test_after_a_store_that_hung_the_next_reading_is_a_new_one(reader, store, clock):
    store.answering.clear()
    patient = Reader(store, Grouping(), patience_s=0, clock=clock)
    assert as_dict(patient.families()) == {"exporter_up{}": 0}
    store.answering.set()
    patient._last[1].result(10)
    clock.now += 1
    patient._patience_s = 10
    assert as_dict(patient.families())["exporter_up{}"] == 1
    assert store.looks == 2


def test_the_policy_is_asked_at_every_reading(store, clock):
    from costscope.policy import Budget, Policy

    limits = iter(["2", "3"])

    def policy():
        return Policy(budgets=(Budget(id="day", period="daily", limits={"cost": next(limits)}),))

    reader = Reader(store, Grouping(), policy, clock=clock)
    place = "budget_limit{budget=day,meter=cost}"
    assert as_dict(reader.families())[place] == 2
    assert as_dict(reader.families())["budget_info{budget=day,enforcement=hard,period=daily}"] == 1
    clock.now += 1
    assert as_dict(reader.families())[place] == 3


def test_without_a_policy_nothing_is_said_of_its_rules(reader):
    assert not [name for name in as_dict(reader.families()) if name.startswith("budget_info")]


def test_nothing_is_logged_while_all_is_well(reader, clock, caplog):
    with caplog.at_level(logging.DEBUG, "costscope.exporter"):
        reader.families()
        clock.now += 1
        reader.families()
    assert not caplog.records
