"""One worker: it works when it is woken, waits for no other, and ends with its process."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from until import until

from costscope.background import worker as module
from costscope.background.worker import Worker, register, send_until_taken
from costscope.errors import StoreError, StoreUnavailable

LONG = 20.0
NAME = "costscope-test"


def threads():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


class Work:
    """What a worker calls: it counts, and waits at a gate that a test may close."""

    def __init__(self):
        self.calls, self.answers = 0, []
        self.began, self.gate = threading.Semaphore(0), threading.Event()
        self.gate.set()

    def __call__(self):
        self.calls += 1
        self.began.release()
        assert self.gate.wait(LONG)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def make_worker(work):
    made = []

    def make(what=work):
        made.append(Worker(what, NAME))
        return made[-1]

    yield make
    work.gate.set()
    for worker in made:
        worker.stop(LONG)
    until(lambda: not threads())


@pytest.fixture
def worker(make_worker):
    return make_worker()


def test_one_call_answers_all_the_wakes_before_it(worker, work):
    work.gate.clear()
    worker.wake()
    assert work.began.acquire(timeout=LONG)
    for _ in range(100):
        worker.wake()
    work.gate.set()
    assert worker.drain(LONG)
    assert work.calls == 2, "and those that come while it works are answered by the next"


def test_wakes_by_many_threads_start_one_thread(worker, work):
    work.gate.clear()
    barrier = threading.Barrier(8)

    def wake():
        barrier.wait()
        for _ in range(50):
            worker.wake()

    wakers = [threading.Thread(target=wake) for _ in range(8)]
    for waker in wakers:
        waker.start()
    for waker in wakers:
        waker.join()
    assert work.began.acquire(timeout=LONG)
    until(lambda: len(threads()) == 1)
    assert work.calls == 1
    work.gate.set()
    assert worker.drain(LONG)


def test_the_thread_ends_when_there_has_long_been_nothing_and_begins_again(worker, work, monkeypatch):
    monkeypatch.setattr(Worker, "linger_s", 0.0)
    for number in range(50):
        worker.wake()
        until(lambda number=number: work.calls > number)
        if not number % 10:
            until(lambda: worker.idle)


def test_a_wake_in_the_moment_in_which_the_thread_ends_is_not_lost(worker, work, monkeypatch):
    monkeypatch.setattr(Worker, "linger_s", 0.02)

    class Ending:
        """The lock of the one thread that works: as it gives it back, another thread has found it taken."""

        def __init__(self, lock):
            self.acquire, self.locked, self._release = lock.acquire, lock.locked, lock.release
            self.woken = False

        def release(self):
            if not self.woken:
                self.woken = True
                worker.wake()
            self._release()

    ending = worker._running = Ending(worker._running)
    worker.wake()
    until(lambda: ending.woken and worker.idle)


def test_it_is_called_again_when_it_wants_to_be(worker, work):
    work.answers = [0.0, 0.001, None]
    worker.wake()
    until(lambda: work.calls == 3)
    assert worker.drain(LONG)
    assert work.calls == 4


def test_what_it_raises_is_logged_and_does_not_end_it(worker, work, monkeypatch, caplog):
    monkeypatch.setattr(Worker, "linger_s", 0.01)
    work.answers = [ValueError("a mistake")]
    worker.wake()
    until(lambda: work.calls == 2)
    assert f"{NAME} failed" in caplog.text
    assert "ValueError: a mistake" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_interrupt_ends_the_thread_and_not_the_worker(make_worker):
    outcomes = [KeyboardInterrupt, None]
    done = threading.Event()

    def work():
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        done.set()

    worker = make_worker(work)
    worker.wake()
    until(lambda: len(outcomes) == 1 and worker.idle)
    worker.wake()
    assert done.wait(LONG)


def test_it_works_in_an_empty_context_on_a_daemon_thread(make_worker):
    tenant = contextvars.ContextVar("tenant", default="none")
    tenant.set("acme")
    seen = []
    worker = make_worker(lambda: seen.append((tenant.get(), threading.current_thread().daemon)))
    worker.wake()
    assert worker.drain(LONG)
    assert set(seen) == {("none", True)}


def test_draining_waits_for_a_call_that_begins_afterwards(make_worker):
    began, gates, drained = threading.Semaphore(0), threading.Semaphore(0), []

    def work():
        began.release()
        assert gates.acquire(timeout=LONG)

    worker = make_worker(work)
    worker.wake()
    assert began.acquire(timeout=LONG)
    drainer = threading.Thread(target=lambda: drained.append(worker.drain(LONG)))
    drainer.start()
    until(lambda: worker._drains)
    gates.release()
    assert began.acquire(timeout=LONG), "what came during the first call is not of that call"
    drainer.join(0.05)
    assert drained == []
    gates.release(2)
    drainer.join(LONG)
    assert drained == [True]


def test_draining_takes_no_longer_than_it_may(worker, work):
    work.gate.clear()
    worker.wake()
    assert not worker.drain(0.01)


def test_a_thread_that_waits_for_work_ends_as_soon_as_it_is_stopped(worker, work, monkeypatch):
    monkeypatch.setattr(Worker, "linger_s", LONG * 10)
    worker.wake()
    assert worker.drain(LONG)
    worker.stop(LONG)
    assert threads() == []


def test_draining_and_stopping_cut_a_pause_short(make_worker):
    paused, over = threading.Semaphore(0), threading.Semaphore(0)

    def work():
        if not worker.stopping:
            paused.release()
            worker.pause(LONG * 10)
            over.release()

    worker = make_worker(work)
    worker.wake()
    for cut in (lambda: worker.drain(0.0), worker.stop):
        assert paused.acquire(timeout=LONG)
        cut()
        assert over.acquire(timeout=LONG)


def test_nothing_is_done_once_it_was_stopped(worker, work):
    work.gate.clear()
    worker.wake()
    assert work.began.acquire(timeout=LONG)
    worker.wake()
    before = time.monotonic()
    worker.close(worker.drain, 0.02)
    assert time.monotonic() - before < LONG / 2, "it does not wait for a call that hangs"
    work.gate.set()
    until(lambda: not threads())
    worker.wake()
    assert not worker.drain(LONG)
    assert (work.calls, threads()) == (1, [])


def test_it_is_woken_by_a_finalizer_in_the_middle_of_anything(worker, work):
    class Abandoned:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            worker.wake()

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(300):
            Abandoned()
            worker.wake()
    finally:
        gc.set_threshold(*threshold)
    assert worker.drain(LONG)


def test_one_that_is_stuck_delays_no_other(make_worker, work):
    work.gate.clear()
    stuck, done = make_worker(), threading.Event()
    stuck.wake()
    assert work.began.acquire(timeout=LONG)
    other = make_worker(done.set)
    other.wake()
    assert done.wait(LONG)
    assert other.drain(LONG)


def test_where_no_thread_can_be_started_the_one_that_drains_does_the_work(worker, work, monkeypatch):
    """As at the end of an interpreter from 3.12 on."""

    def refuse(_):
        raise RuntimeError

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not worker.wake()
    assert worker.drain(LONG)
    assert work.calls == 1


@pytest.mark.parametrize("away", [True, False])
def test_even_then_nothing_waits_for_a_store_that_stays_away(make_worker, monkeypatch, away):
    def refuse(_):
        raise RuntimeError

    def send(_):
        if away:
            raise StoreUnavailable("away")

    taken = []
    worker = make_worker(lambda: taken.append(send_until_taken(worker, send, [1])))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = time.monotonic()
    assert worker.drain(0.2) is not away
    assert time.monotonic() - before < LONG / 2
    assert taken == [not away]


def test_a_batch_is_sent_until_it_is_taken_or_refused(make_worker):
    answers = [StoreUnavailable("away"), StoreUnavailable("away"), None, StoreError("never")]
    heard = []

    def send(_):
        if (answer := answers.pop(0)) is not None:
            raise answer

    def work():
        try:
            heard.append(send_until_taken(worker, send, [1]))
        except StoreError as error:
            heard.append(str(error))

    worker = make_worker(work)
    worker.wake()
    until(lambda: heard == [True])
    worker.wake()
    until(lambda: heard == [True, "never"])


# --------------------------------------------------------------------------- forks and ends of processes


class Owner:
    """Says what it is told."""

    def __init__(self, worker, stage, say=lambda *_: None):
        self.worker, self.stage, self.say = worker, stage, say
        register(self, stage)

    def close(self, timeout_s):
        self.say(self.stage, timeout_s)

    def restart_in_child(self):
        self.worker.restart_in_child()


def in_child(body) -> int:
    """Run this in a forked child; its exit code, 0 if what it returns is true."""
    child = os.fork()
    if child == 0:
        signal.alarm(int(LONG))  # a deadlock ends the child, not the test run
        code = 1
        try:
            code = 0 if body() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("stopped", [False, True], ids=["at work", "stopped"])
def test_a_forked_child_begins_without_the_parents_thread_and_locks(worker, work, stopped):
    owner = Owner(worker, "callbacks")
    work.gate.clear()
    worker.wake()
    assert work.began.acquire(timeout=LONG)
    worker.drain(0.0)
    if stopped:
        worker.stop()

    def child():
        work.gate.set()
        clean = worker.idle and not threads()
        worker.wake()
        return clean and worker.drain(LONG) is not stopped and worker.closing.is_set() is stopped

    assert in_child(child) == 0
    assert threads(), "the parent still has its own"
    assert owner.worker is worker


PROGRAM = """
import sys
from costscope.background.worker import Worker, register

class Owner:
    def __init__(self, stage):
        self.stage = stage
        self.worker = Worker(lambda: None, "costscope-test")
        register(self, stage)
    def close(self, timeout_s):
        assert 0 <= timeout_s <= 2.0
        print(self.stage, flush=True)
    def restart_in_child(self):
        self.worker.restart_in_child()
        self.worker.wake()  # as what looks at the files of a policy does

def main():
    global owners
    owners = [Owner(stage) for stage in ("export", "metrics", "outbox", "webhooks", "publisher", "callbacks")]
    for owner in owners:
        owner.worker.wake()
"""
ORDER = ["callbacks", "publisher", "webhooks", "outbox", "metrics"]


def said(program):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_process_closes_in_the_order_of_stages_and_leaves_the_export_to_the_sdk():
    assert said(f"{PROGRAM}\nmain()") == ORDER


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_of_multiprocessing_closes_everything_and_exports():
    """It leaves without `atexit`; workers of every other kind are in the tests of telemetry."""
    start = "import multiprocessing\nchild = multiprocessing.get_context('fork').Process(target=main)"
    assert said(f"{PROGRAM}\n{start}\nchild.start()\nchild.join()") == [*ORDER, "export"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_worker_has_an_exit_hook_of_its_own():
    """What is registered before multiprocessing begins in a child it throws away."""
    start = """
import multiprocessing
context = multiprocessing.get_context("fork")
def first():
    main()
    second = context.Process(target=lambda: Worker(lambda: None, "costscope-test").wake())
    second.start()
    second.join()
child = context.Process(target=first)
child.start()
child.join()
"""
    assert said(f"{PROGRAM}\n{start}") == [*ORDER, "export"] * 2


@pytest.fixture
def only_these(monkeypatch):
    """What a test registers is all there is."""
    monkeypatch.setattr(module, "_known", {stage: type(known)() for stage, known in module._known.items()})


def test_closing_everything_takes_bounded_time_and_settlements_have_their_own(only_these, monkeypatch):
    """A callback that hangs may use up the two seconds of what waits with it, and not those of the outbox."""
    monkeypatch.setattr(module, "CLOSING_S", 0.05)
    given = {}

    def say(stage, timeout_s):
        given[stage] = timeout_s
        if stage == "callbacks":
            threading.Event().wait(0.06)

    owners = [Owner(None, stage, say) for stage in ("outbox", "publisher", "callbacks")]
    module._close_all()
    assert len(owners) == len(given)
    assert given["callbacks"] <= 0.05
    assert given["publisher"] == 0.0
    assert 0.0 < given["outbox"] <= 0.05


def test_what_is_forgotten_is_not_closed(only_these):
    said_stages = []
    Owner(None, "outbox", lambda stage, _: said_stages.append(stage))
    gc.collect()
    module._close_all()
    assert said_stages == []
