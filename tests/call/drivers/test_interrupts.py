"""Ctrl-C: wherever it strikes, nothing stays held and the books balance."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from interrupting import Interrupt

import costscope
from costscope import budget_scope, metered_model, metered_tool

PRICE = 10_000_000
SUPPORT = Path(__file__).parents[2] / "support"


@pytest.fixture
def interrupted(runtime, books):
    """Interrupts one action at each of its moments, and looks at the books after each."""

    def run(action, *, least: int) -> int:
        at = fired = 0
        with budget_scope(runtime=runtime):
            while True:
                with Interrupt(at) as interrupt:
                    try:
                        action()
                    except KeyboardInterrupt:
                        pass
                    except RuntimeError:  # "generator didn't stop after throw()": contextlib was interrupted
                        pass
                if not interrupt.fired:
                    break
                fired += 1
                at += 1
                if fired % 8 == 0:
                    books.settle()
        gc.collect()
        books.settle()
        assert fired >= least, "the profiler saw nothing"
        return fired

    return run


def test_a_plain_call(interrupted, runtime, books):
    ran = []

    @metered_tool("t", price="0.01", runtime=runtime)
    def tool():
        ran.append(1)

    fired = interrupted(tool, least=30)
    assert len(ran) * PRICE <= books.spent() <= (fired + 1) * PRICE, "whatever ran was charged"


def test_a_model_call_with_usage(interrupted, runtime, books):
    ran = []

    @metered_model("m", price={"input": "1", "output": "2"}, runtime=runtime)
    def ask(text, max_tokens=100):
        ran.append(1)
        return {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    interrupted(lambda: ask("hi"), least=60)
    assert books.spent() >= len(ran) * 20_000


def test_a_call_that_fails_unbilled(interrupted, runtime, books):
    @metered_tool("t", price="0.01", runtime=runtime)
    def tool():
        raise costscope.NotBilled

    def action():
        with pytest.raises(costscope.NotBilled):
            tool()

    interrupted(action, least=30)


def test_a_generator(interrupted, runtime, books):
    passed = []

    @metered_model("m", price={"input": "1", "output": "2"}, runtime=runtime)
    def stream(text, max_tokens=100):
        yield {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
        passed.append(1)
        yield {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}

    interrupted(lambda: list(stream("hi")), least=60)
    assert books.spent() >= len(passed) * 20_000


def test_an_sdk_stream(interrupted, runtime, books):
    class Stream:
        def __init__(self):
            self.left = [{"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}]

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            return self.left.pop()

    made = []

    @metered_model("m", price={"input": "1", "output": "2"}, runtime=runtime)
    def stream(text, max_tokens=100):
        made.append(1)
        return Stream()

    interrupted(lambda: list(stream("hi")), least=60)
    assert books.spent() >= len(made) * 20_000


def test_a_reservation(interrupted, runtime, books):
    inside = []

    def action():
        with costscope.reserve(tool="t", price="0.01", runtime=runtime) as hold:
            inside.append(1)
            hold.commit("0.005")

    interrupted(action, least=30)
    assert books.spent() >= len(inside) * PRICE // 2


def test_a_reservation_that_is_released(interrupted, runtime, books):
    def action():
        with costscope.reserve(tool="t", price="0.01", runtime=runtime) as hold:
            hold.release()

    interrupted(action, least=30)


LOOP = r"""
import os, signal, sys
from interrupting import Interrupt

import costscope
from running import open_url
from costscope.scope.runtime import services_of

store = open_url(sys.argv[1])
runtime = costscope.Runtime(store=store, lease_s=3600)
ran = 0

@costscope.metered_tool("t", price="0.01", runtime=runtime)
def tool():
    global ran
    ran += 1

armed, early = False, 0

def on_signal(*_):
    # one interrupt for each time this program is ready for one
    global armed, early
    if armed:
        armed = False
        raise KeyboardInterrupt
    early += 1

signal.signal(signal.SIGINT, on_signal)
interrupts = 0
with costscope.budget_scope(runtime=runtime, max_cost="1000") as scope:
    print("ready", flush=True)
    while interrupts < int(sys.argv[2]):
        try:
            armed = True
            while not early:
                tool()
            early, armed = 0, False
        except KeyboardInterrupt:
            pass
        interrupts += 1
        os.write(1, b"!\n")
assert services_of(runtime).outbox.drain(30)
snapshot = store.snapshot()
(account,) = snapshot.accounts
cost = account.meters["cost"]
report = runtime.audit()
assert report.exact, report
assert not snapshot.holds, snapshot.holds
assert cost.held == 0
assert cost.spent >= ran * 10_000_000, (cost, ran)
assert cost.spent <= (ran + interrupts) * 10_000_000, (cost, ran)
scope.refresh()
assert scope.held == 0, scope.held
print("exact", ran, flush=True)
"""


@pytest.mark.parametrize("seed", [1])
def test_real_signals_at_random_moments(seed, store_kind, request, tmp_path):
    """The next one is sent when the program has taken the last one in."""
    url = "memory://" if store_kind == "memory" else request.getfixturevalue("patient_url")
    script = tmp_path / "loop.py"
    script.write_text(LOOP)
    signals = 150
    rng = random.Random(seed)
    process = subprocess.Popen(
        # a socket whose opening is interrupted inside of the client library is closed by the garbage collector
        [
            sys.executable,
            *("-X", "faulthandler", "-W", "error", "-W", "ignore::ResourceWarning"),
            *(str(script), url, str(signals)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    )
    with process:
        killer = threading.Timer(90, process.kill)
        killer.start()
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            for _ in range(signals):
                time.sleep(rng.uniform(0.0002, 0.002))  # anywhere among some dozens of calls
                process.send_signal(signal.SIGINT)
                assert process.stdout.readline() == "!\n", (process.stderr.read(), process.wait())
            last = process.stdout.readline()
            assert last.startswith("exact"), process.stderr.read()
            assert process.wait() == 0
            assert process.stderr.read() == ""
        finally:
            killer.cancel()
            process.kill()
