"""Events by type, as counters that Prometheus can take rates of."""

from costscope.observe.events.records import KINDS
from costscope.observe.exporter.reading import EventCounts


def test_every_type_begins_at_zero(store):
    found = EventCounts().look(store)
    assert set(found) == {*KINDS, "other"}
    assert set(found.values()) == {0}


def test_only_what_comes_after_the_first_look_is_counted(store):
    store.records = ['{"type":"runaway"}'] * 3
    counts = EventCounts()
    assert counts.look(store)["runaway"] == 0
    store.records += ['{"type":"runaway"}', '{"type":"denied"}']
    found = counts.look(store)
    assert (found["runaway"], found["denied"]) == (1, 1)
    assert counts.look(store) == found, "nothing is counted twice"


def test_the_first_event_of_an_empty_stream_is_counted(store):
    counts = EventCounts()
    counts.look(store)
    store.records = ['{"type":"threshold"}']
    assert counts.look(store)["threshold"] == 1


def test_what_nobody_here_knows_is_other(store):
    counts = EventCounts()
    counts.look(store)
    store.records = ['{"type":"from the future"}', "nonsense", "[]"]
    assert counts.look(store)["other"] == 3
