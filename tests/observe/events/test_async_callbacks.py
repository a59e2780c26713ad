"""Async callbacks: as tasks where a loop runs, in the background where none does, and waited for in the end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref

import pytest
from happenings import happening

from costscope import Runtime, budget_scope
from costscope.context import current_call, set_current_call
from costscope.events import Callbacks, CallSettled, EventStream, RunStarted

BACKGROUND = "costscope-callbacks"


def background_threads():
    return [thread for thread in threading.enumerate() if thread.name == BACKGROUND]


class Listener:
    """An async callback that says where it ran."""

    def __init__(self):
        self.heard = []
        self.threads = set()
        self.loops = set()

    async def __call__(self, event):
        await asyncio.sleep(0)
        self.heard.append(event.id)
        self.threads.add(threading.current_thread())
        self.loops.add(asyncio.get_running_loop())


@pytest.fixture
def listener():
    return Listener()


def test_where_a_loop_runs_it_is_a_task_of_that_loop(stream, listener):
    stream.on("run_started", listener)

    async def main():
        stream.emit(happening(RunStarted))
        assert listener.heard == [], "the emitter does not wait"
        assert await stream.adrain(30)
        assert len(listener.heard) == 1
        assert listener.loops == {asyncio.get_running_loop()}

    asyncio.run(main())
    assert not background_threads()


def test_where_no_loop_runs_it_is_a_task_of_one_loop_in_the_background(stream, listener):
    stream.on("run_started", listener)
    threads = [
        threading.Thread(target=stream.emit, args=(happening(RunStarted),), name="emitter") for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stream.emit(happening(RunStarted))
    assert stream.drain(30)
    assert len(listener.heard) == 5
    assert {thread.name for thread in listener.threads} == {BACKGROUND}
    assert len(listener.loops) == 1
    assert all(thread.daemon for thread in listener.threads)


def test_nothing_runs_in_the_background_before_it_is_needed(stream):
    stream.on("run_started", lambda event: None)
    stream.emit(happening(RunStarted))
    assert not background_threads()


def test_drain_gives_up_in_time_and_says_so(stream):
    release = threading.Event()

    async def slow(event):
        await asyncio.to_thread(release.wait, 30)

    stream.on("run_started", slow)
    stream.emit(happening(RunStarted))
    assert not stream.drain(0.01)
    release.set()
    assert stream.drain(30)


def test_drain_in_a_coroutine_does_not_wait_for_tasks_that_it_holds_up(stream, listener):
    stream.on("run_started", listener)

    async def main():
        stream.emit(happening(RunStarted))
        assert not stream.drain(30), "it says that something is left, at once"
        assert await stream.adrain(30)

    asyncio.run(main())


def test_what_the_end_of_asyncio_run_cancels_is_in_the_log(stream, listener, caplog):
    """`run` cancels the tasks that are left; `adrain` is for those who would rather wait."""
    stream.on("run_started", listener)

    async def main(*, waits):
        stream.emit(happening(RunStarted))
        if waits:
            await stream.adrain(30)

    asyncio.run(main(waits=True))
    assert len(listener.heard) == 1
    assert caplog.records == []
    asyncio.run(main(waits=False))
    assert stream.drain(30), "nothing waits for it any more"
    assert len(listener.heard) == 1
    assert "Listener of 'run_started' was not run to its end: its task was cancelled" in caplog.text


def test_nobody_waits_for_a_loop_that_was_closed_without_care(stream, listener, caplog):
    stream.on("run_started", listener)

    async def main():
        stream.emit(happening(RunStarted))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    [task] = asyncio.all_tasks(loop)
    task._log_destroy_pending = False  # what asyncio says of tasks that were left
    loop.close()
    assert stream.drain(30)
    assert "its event loop was closed" in caplog.text
    del task


def test_close_cancels_what_does_not_end_and_leaves_no_thread(stream, caplog):
    begun = threading.Event()

    async def endless(event):
        begun.set()
        await asyncio.Event().wait()

    stream.on("run_started", endless)
    stream.emit(happening(RunStarted))
    assert begun.wait(30)
    [thread] = background_threads()
    stream.close(0.01)
    thread.join(30)
    assert not thread.is_alive()
    assert "1 async callbacks had not ended" in caplog.text
    assert "its task was cancelled" in caplog.text


def test_a_stream_that_was_closed_still_tells(stream, listener):
    stream.on("run_started", listener)
    stream.emit(happening(RunStarted))
    stream.close(30)
    stream.emit(happening(RunStarted))
    assert stream.drain(30)
    assert len(listener.heard) == 2


def test_its_error_is_logged_and_the_next_one_still_runs(stream, listener, caplog):
    async def fails(event):
        raise ValueError("a mistake")

    stream.on("run_started", fails)
    stream.on("run_started", listener)
    for _ in range(2):
        stream.emit(happening(RunStarted))
    assert stream.drain(30)
    assert len(listener.heard) == 2
    assert caplog.text.count("ValueError: a mistake") == 2


@pytest.mark.parametrize("running", ["a loop", "no loop"])
def test_callbacks_run_in_the_scope_of_what_happened_and_in_no_call(stream, running):
    """What they call themselves is charged to that scope, and is no part of the call they are told of."""
    seen = []

    async def later(event):
        seen.append((runtime.current_scope(), current_call()))

    def at_once(event):
        seen.append((runtime.current_scope(), current_call()))

    stream.on("settled", later)
    stream.on("settled", at_once)
    call = object()

    def emit():
        set_current_call(call)
        try:
            stream.emit(happening(CallSettled))
            assert current_call() is call
        finally:
            set_current_call(None)

    async def main():
        emit()
        await stream.adrain(30)

    with Runtime() as runtime, budget_scope(runtime=runtime, tenant="acme") as scope:
        if running == "a loop":
            asyncio.run(main())
        else:
            emit()
            stream.drain(30)
        assert seen == [(scope, None), (scope, None)]


def test_the_thread_of_a_forgotten_stream_ends(listener):
    stream = EventStream()
    stream.on("run_started", listener)
    stream.emit(happening(RunStarted))
    assert stream.drain(30)
    [thread] = listener.threads
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None
    thread.join(30)
    assert not thread.is_alive()


def test_awaitables_of_every_kind_are_awaited(stream):
    heard = []

    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            heard.append("object")

    def plain(event):
        return Awaitable()

    class Asynchronous:
        async def method(self, event):
            heard.append("method")

    stream.on("run_started", plain)
    local = Callbacks(on_settled=Asynchronous().method)
    stream.emit(happening(RunStarted))
    stream.emit(happening(CallSettled), local)
    assert stream.drain(30)
    assert sorted(heard) == ["method", "object"]


EXIT = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from costscope.events import EventStream, RunStarted
from happenings import happening

stream = EventStream()

async def later(event):
    await asyncio.sleep(0.05)
    print("heard", flush=True)

stream.on("run_started", later)
stream.emit(happening(RunStarted))
"""


def test_what_is_under_way_ends_before_the_interpreter_does():
    support = os.path.dirname(sys.modules["happenings"].__file__)  # noqa: PTH120 - a text for the command line
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXIT, support],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_background_of_its_own(stream, listener):
    stream.on("run_started", listener)
    release = threading.Event()

    async def slow(event):
        await asyncio.to_thread(release.wait, 30)

    stream.on("denied", slow)
    stream.emit(happening(RunStarted))
    assert stream.drain(30)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            stream.emit(happening(RunStarted))
            os.write(writer, f"{stream.drain(30)} {len(listener.heard)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert answer.read() == "True 2"
    stream.emit(happening(RunStarted))
    assert stream.drain(30)
    assert len(listener.heard) == 2, "and the parent still has its own"
    release.set()


def test_the_log_says_nothing_when_all_is_well(stream, listener, caplog):
    stream.on("run_started", listener)
    with caplog.at_level(logging.INFO):
        stream.emit(happening(RunStarted))
        assert stream.drain(30)
    assert caplog.records == []
