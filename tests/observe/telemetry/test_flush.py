"""Flushing: in the background, coalesced, bounded, and never in anybody's scope."""

import contextvars
import logging
import os
import signal
import threading
import time

import pytest
from opentelemetry.metrics import NoOpMeterProvider

from costscope.observe.telemetry.flush import Flusher
from costscope.observe.telemetry.recorder import Telemetry
from costscope.observe.telemetry.totals import ScopeTotals

LONG = 20.0


class Stuck:
    """A flush that waits until it is let go, like an exporter whose endpoint is dead."""

    def __init__(self):
        self.entered, self.let_go = threading.Semaphore(0), threading.Semaphore(0)
        self.running = self.most_running = self.flushes = 0

    def __call__(self, *_):
        self.running += 1
        self.flushes += 1
        self.most_running = max(self.most_running, self.running)
        self.entered.release()
        assert self.let_go.acquire(timeout=LONG)
        self.running -= 1


@pytest.fixture
def stuck():
    stuck = Stuck()
    yield stuck
    stuck.let_go.release(100)


def test_a_dead_endpoint_does_not_delay_a_scope_exit(stuck):
    class DeadProvider(NoOpMeterProvider):
        force_flush = staticmethod(stuck)

    telemetry = Telemetry(DeadProvider(), flush_interval=0.0)
    totals = ScopeTotals()
    telemetry.record({"tenant": "acme"}, totals, duration_seconds=1.0)
    telemetry.flush_soon()
    assert stuck.entered.acquire(timeout=LONG)
    # The flush hangs now: only a scope exit that does not wait for it gets past these lines.
    for _ in range(1000):
        telemetry.record({"tenant": "acme"}, totals, duration_seconds=1.0)
        telemetry.flush_soon()
    before = time.monotonic()
    assert telemetry.close(timeout=0.05) is False
    assert time.monotonic() - before < LONG / 2
    stuck.let_go.release(100)
    assert telemetry.close(timeout=LONG) is True


def test_many_requests_become_one_flush_in_flight_and_one_pending(stuck):
    flusher = Flusher(stuck, interval=0.0)
    flusher.request()
    assert stuck.entered.acquire(timeout=LONG)
    for _ in range(500):
        flusher.request()
    stuck.let_go.release()
    assert stuck.entered.acquire(timeout=LONG), "what was recorded during a flush needs one more"
    stuck.let_go.release(100)
    assert flusher.close(LONG)
    assert (stuck.flushes, stuck.most_running) == (2, 1)


def test_requests_from_many_threads_start_one_thread(stuck):
    flusher = Flusher(stuck, interval=0.0)
    start = threading.Barrier(16)

    def ask():
        start.wait()
        flusher.request()

    askers = [threading.Thread(target=ask) for _ in range(16)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert stuck.entered.acquire(timeout=LONG)
    stuck.let_go.release(100)
    assert flusher.close(LONG)
    assert stuck.most_running == 1
    assert stuck.flushes <= 2


def test_two_flushes_keep_their_distance_and_closing_does_not_wait_for_it():
    flushed = threading.Semaphore(0)
    flusher = Flusher(flushed.release, interval=3600.0)
    flusher.request()
    assert flushed.acquire(timeout=LONG), "the first one comes at once"
    flusher.request()
    assert not flushed.acquire(timeout=0.05)
    assert flusher.close(LONG)
    assert flushed.acquire(blocking=False), "what is pending is flushed at close"


def test_the_flush_runs_in_an_empty_context_on_its_own_daemon_thread():
    tenant = contextvars.ContextVar("tenant", default="none")
    tenant.set("acme")
    seen = []
    flusher = Flusher(lambda: seen.append((tenant.get(), threading.current_thread())), interval=0.0)
    flusher.request()
    assert flusher.close(LONG)
    ((value, thread),) = seen
    assert value == "none"
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_a_failing_flush_is_logged_and_the_next_one_runs(caplog):
    outcomes = iter([RuntimeError("exporter is broken"), None])
    done = threading.Semaphore(0)

    def flush():
        done.release()
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    flusher = Flusher(flush, interval=0.0)
    with caplog.at_level(logging.WARNING, "costscope.telemetry"):
        flusher.request()
        assert done.acquire(timeout=LONG)
        flusher.request()
        assert done.acquire(timeout=LONG)
        assert flusher.close(LONG)
    assert "exporter is broken" in caplog.text


def test_a_thread_that_ended_for_lack_of_work_is_started_again(monkeypatch):
    monkeypatch.setattr("costscope.background.worker.Worker.linger_s", 0.0)
    flushed = threading.Semaphore(0)
    flusher = Flusher(flushed.release, interval=0.0)
    for _ in range(20):
        flusher.request()
        assert flushed.acquire(timeout=LONG)
    assert flusher.close(LONG)


def test_nothing_starts_after_close():
    flusher = Flusher(lambda: pytest.fail("flushed after close"))
    assert flusher.close(0.0)
    flusher.request()
    assert flusher.close(0.0)


def test_force_flush_of_the_real_sdk_is_called(telemetry, measured):
    totals = ScopeTotals()
    totals.add_settlement("committed")
    telemetry.record({"tenant": "acme"}, totals)
    telemetry.flush_soon()
    assert telemetry.close(LONG)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_flushes_with_a_thread_of_its_own(stuck):
    """At the fork the parent's thread is in a flush, with its lock taken: it does not exist in the child."""

    class Provider(NoOpMeterProvider):
        force_flush = staticmethod(stuck)

    telemetry = Telemetry(provider := Provider(), flush_interval=0.0)
    telemetry.flush_soon()
    assert stuck.entered.acquire(timeout=LONG)
    child = os.fork()
    if child == 0:
        signal.alarm(int(LONG))  # a deadlock ends the child, not the test run
        code = 1
        try:
            flushed = threading.Event()
            provider.force_flush = lambda _: flushed.set()
            telemetry.flush_soon()
            code = 0 if flushed.wait(LONG) and telemetry.close(LONG) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    stuck.let_go.release(100)
    assert telemetry.close(LONG)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_exports_nothing_of_its_parents():
    flushed = []

    class Provider(NoOpMeterProvider):
        def force_flush(self, _):
            flushed.append(os.getpid())

    telemetry, totals = Telemetry(Provider()), ScopeTotals()
    totals.add_settlement("committed")
    telemetry.record({"tenant": "acme"}, totals)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if telemetry.close(LONG) and not flushed else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert telemetry.close(LONG)
    assert flushed == [os.getpid()], "closing exports what has not been yet"
    assert telemetry.close(LONG)
    assert len(flushed) == 1
