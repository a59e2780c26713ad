"""The stream: who is told, in which order, and that nobody's failure is anybody else's."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import threading

import pytest
from happenings import EVERY_KIND, happening

from costscope import InvalidInput
from costscope.events import (
    KINDS,
    Callbacks,
    CallSettled,
    Downgraded,
    EventStream,
    RunawayDetected,
    RunStarted,
    ThresholdCrossed,
    kind_of,
)


class Board:
    """Stands in for a publisher."""

    def __init__(self, told) -> None:
        self.told = told
        self.options = []

    def put(self, event, **options):
        self.told.append("board")
        self.options.append(options)

    def drain(self, timeout_s):
        return True


@pytest.fixture
def told():
    return []


def teller(told, name):
    return lambda event: told.append(name)


def test_who_is_told_and_in_which_order(stream, told, caplog):
    stream.on("threshold", teller(told, "global 1"))
    stream.on("threshold", teller(told, "global 2"))
    stream.publish_with(Board(told))
    stream.add_sink(lambda event: told.append(f"sink, after {len(caplog.records)} lines of the log"))
    inner = Callbacks(on_threshold=(teller(told, "inner 1"), teller(told, "inner 2")))
    outer = Callbacks(on_threshold=teller(told, "outer"))
    stream.emit(happening(), inner.within(outer))
    assert told == [
        "sink, after 1 lines of the log",
        "board",
        "inner 1",
        "inner 2",
        "outer",
        "global 1",
        "global 2",
    ]


@pytest.mark.parametrize("record", EVERY_KIND)
def test_a_callback_gets_the_records_of_its_kind_and_no_others(stream, record, told):
    event = happening(record)
    for kind in KINDS:
        stream.on(kind, lambda heard, kind=kind: told.append((kind, heard)))
    stream.emit(event)
    assert told == [(kind_of(event), event)]


def test_a_callback_that_was_removed_hears_nothing_more(stream, told):
    remove_first = stream.on("denied", teller(told, "first"))
    stream.on("run_started", teller(told, "second"))
    remove_sink = stream.add_sink(teller(told, "sink"), ("run_started",))
    remove_first()
    remove_first()
    remove_sink()
    stream.emit(happening(RunStarted))
    assert told == ["second"]
    assert not stream.has_listeners("denied")


def test_the_same_function_may_be_there_twice_and_be_removed_once(stream, told):
    callback = teller(told, "told")
    remove = stream.on("run_started", callback)
    stream.on("run_started", callback)
    remove()
    stream.emit(happening(RunStarted))
    assert told == ["told"]


@pytest.mark.parametrize(("kind", "callback"), [("crossed", print), ("threshold", "print"), ("", None)])
def test_what_nobody_could_ever_hear_is_refused(stream, kind, callback):
    with pytest.raises(InvalidInput, match=r"no such kind|cannot be called"):
        stream.on(kind, callback)


def test_a_sink_hears_every_kind_but_what_comes_with_every_call(stream, told):
    stream.add_sink(lambda event: told.append(kind_of(event)))
    for record in EVERY_KIND:
        stream.emit(happening(record))
    assert told == [kind for kind in KINDS if kind != "settled"]


def test_settled_is_wanted_when_somebody_listens_here_or_everywhere(stream):
    assert not stream.has_listeners("settled")
    assert not stream.has_listeners("settled", Callbacks(on_denied=print))
    assert stream.has_listeners("settled", Callbacks(on_settled=print))
    remove = stream.on("settled", print)
    assert stream.has_listeners("settled")
    assert not stream.has_listeners("denied")
    remove()
    assert not stream.has_listeners("settled")
    stream.add_sink(print, ("settled",))
    assert stream.has_listeners("settled")


def test_what_is_on_the_board_already_is_not_put_there_again(stream, told):
    board = Board(told)
    stream.publish_with(board)
    stream.emit(happening(), published=True)
    assert told == []
    stream.emit(happening(), once="a#80", once_ms=7, deliver=("ops",))
    assert board.options == [{"once": "a#80", "once_ms": 7, "deliver": ("ops",)}]


def test_every_kind_but_what_comes_with_every_call_goes_to_the_board(stream, told):
    class Recording(Board):
        def put(self, event, **options):
            self.told.append(kind_of(event))

    stream.publish_with(Recording(told))
    for record in EVERY_KIND:
        stream.emit(happening(record))
    assert told == [kind for kind in KINDS if kind != "settled"]


def test_the_log_has_a_line_for_each_record_but_settled_ones(caplog):
    stream = EventStream(currency="EUR")
    with caplog.at_level(logging.DEBUG):
        for record in EVERY_KIND:
            stream.emit(happening(record))
    assert {line.name for line in caplog.records} == {"costscope.events"}
    assert [kind_of(line.costscope_event) for line in caplog.records] == [
        kind for kind in KINDS if kind != "settled"
    ]
    assert "limit EUR 1.00" in caplog.text


def fail(event):
    raise ValueError("a mistake of the callback's")


async def fail_later(event):
    await asyncio.sleep(0)
    raise ValueError("a mistake of the callback's")


@pytest.mark.parametrize("failing", [fail, fail_later])
def test_an_error_is_logged_and_reaches_neither_the_others_nor_the_caller(stream, failing, told, caplog):
    class BrokenBoard(Board):
        def put(self, event, **options):
            raise ValueError("a mistake of the board's")

    stream.add_sink(fail)
    stream.publish_with(BrokenBoard(told))
    stream.on("run_started", failing)
    stream.on("run_started", teller(told, "told"))
    with caplog.at_level(logging.ERROR):
        stream.emit(happening(RunStarted), None)
        assert stream.drain(30)
    assert told == ["told"]
    assert "a mistake of the callback's" in caplog.text
    assert "Traceback" in caplog.text
    assert f"{failing.__name__} of 'run_started' failed" in caplog.text
    assert "BrokenBoard.put of 'run_started' failed" in caplog.text


def test_not_even_a_broken_log_is_the_callers_business(stream, told):
    class Broken(logging.Handler):
        def handle(self, record):
            raise ValueError("the log is full")

    stream.on("threshold", teller(told, "told"))
    stream.on("threshold", fail)
    broken, log = Broken(), logging.getLogger("costscope.events")
    log.addHandler(broken)
    try:
        stream.emit(happening())
    finally:
        log.removeHandler(broken)
    assert told == ["told"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_goes_on_after_everybody_was_told(stream, interrupt, told):
    def interrupted(event):
        raise interrupt

    board = Board(told)
    stream.publish_with(board)
    stream.add_sink(interrupted)
    stream.on("run_started", interrupted)
    stream.on("run_started", teller(told, "told"))
    with pytest.raises(interrupt):
        stream.emit(happening(RunStarted))
    assert told == ["board", "told"]


def test_a_plain_callback_cannot_cancel_the_task_it_is_told_in(stream, told, caplog):
    """It awaits nothing, so that its CancelledError is about something else."""

    def cancelled(event):
        raise asyncio.CancelledError

    stream.on("run_started", cancelled)
    stream.on("run_started", teller(told, "told"))

    async def main():
        stream.emit(happening(RunStarted))
        await asyncio.sleep(0)
        return "not cancelled"

    assert asyncio.run(main()) == "not cancelled"
    assert told == ["told"]
    assert "CancelledError" in caplog.text


def test_each_record_is_heard_once_by_each_however_many_threads_emit(stream):
    heard, barrier = {"plain": [], "local": [], "async": []}, threading.Barrier(8)

    async def later(event):
        heard["async"].append(event.id)

    stream.on("settled", lambda event: heard["plain"].append(event.id))
    stream.on("settled", later)
    local = Callbacks(on_settled=lambda event: heard["local"].append(event.id))
    events = [[happening(CallSettled) for _ in range(50)] for _ in range(8)]

    def emit(mine):
        barrier.wait(30)
        for event in mine:
            stream.on("settled", print)()  # others come and go meanwhile
            stream.emit(event, local)

    threads = [threading.Thread(target=emit, args=(mine,)) for mine in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stream.drain(30)
    expected = sorted(event.id for mine in events for event in mine)
    for who, ids in heard.items():
        assert sorted(ids) == expected, who


def test_a_finalizer_may_emit_in_the_middle_of_anything(stream):
    """The collector runs whenever it likes, also while this thread is inside the stream."""
    heard = []

    async def later(event):
        heard.append(event.id)

    stream.on("settled", lambda event: heard.append(event.id))
    stream.on("settled", later)

    class Abandoned:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            stream.emit(happening(CallSettled))

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(200):
            Abandoned()
            stream.emit(happening(CallSettled))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert stream.drain(30)
    assert len(heard) == 800
    assert len(set(heard)) == 400


def test_names_in_the_log_are_those_of_the_functions(stream, caplog):
    class Listener:
        def method(self, event):
            raise ValueError

        def __call__(self, event):
            raise ValueError

    for listener in (Listener().method, Listener(), functools.partial(fail)):
        stream.on("downgrade", listener)
    with caplog.at_level(logging.ERROR):
        stream.emit(happening(Downgraded))
    names = [record.getMessage() for record in caplog.records]
    assert [name.split(".")[-1] for name in names] == [
        "method of 'downgrade' failed",
        "Listener of 'downgrade' failed",
        "fail of 'downgrade' failed",
    ]


@pytest.mark.parametrize("record", [ThresholdCrossed, RunawayDetected])
def test_the_log_and_the_scope_hear_of_what_the_actions_say_and_the_stream_of_everything(
    record, stream, told, caplog
):
    local = Callbacks(on_threshold=teller(told, "callback"), on_runaway=teller(told, "callback"))
    stream.add_sink(teller(told, "sink"))
    stream.on("threshold", teller(told, "global"))
    stream.on("runaway", teller(told, "global"))
    stream.add_callbacks(
        Callbacks(on_threshold=teller(told, "runtime's"), on_runaway=teller(told, "runtime's"))
    )
    for actions in (("log",), ("callback",), ("halt_run",), ("log", "callback")):
        told.clear()
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "costscope.events"):
            stream.emit(happening(record, actions=actions), local)
        assert ("callback" in told) == ("runtime's" in told) == ("callback" in actions)
        assert bool(caplog.records) == ("log" in actions)
        assert {"sink", "global"} <= set(told)
