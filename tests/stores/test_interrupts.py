"""Ctrl-C in the middle of the memory ledger: a transfer happens whole or not at all, and the lock is given back."""

from __future__ import annotations

import dis
import gc
import random
import signal
import threading

import pytest

from costscope.ledger import Account, Commit, Expire, Extend, Ledger, Release, Reserve
from costscope.testing import ManualClock
from costscope_memory import MemoryStore

LIMITS = (("cost", 10**9), ("tokens", 10**9))
NODES = [Account(f"node/{n}", LIMITS, keep_ms=3_600_000) for n in range(4)]
PATHS = [tuple(NODES[:3]), tuple(NODES[1:])]


@pytest.fixture
def alarm():
    """Raises KeyboardInterrupt some microseconds from now; call it with 0 to call that off."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread")

    def interrupt(*_):
        raise KeyboardInterrupt

    callbacks = gc.callbacks[:]
    gc.callbacks.clear()  # Hypothesis has one, in which an interrupt would end without a word
    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    gc.callbacks[:] = callbacks


def batch(rng: random.Random, hold: str, recent: list[tuple[str, tuple[Account, ...]]]):
    path = rng.choice(PATHS)
    amounts = {"cost": rng.randrange(5), "tokens": rng.randrange(3)}
    recent.append((hold, path))
    commands = [Reserve(hold, path, amounts, 60_000, rng.choice(["charge", "release"]))]
    for _ in range(rng.randrange(4)):
        other, accounts = rng.choice(recent[-20:])
        verb = rng.randrange(5)
        if verb < 2:
            commands.append(Commit(other, accounts, {"cost": rng.randrange(9)}, rng.choice([0, 1000])))
        elif verb == 2:
            commands.append(Release(other, accounts, rng.choice([0, 1000])))
        else:
            commands.append(Expire(other, accounts) if verb == 3 else Extend(other, 1000))
    return commands


@pytest.mark.timeout(120, method="thread")  # its other method uses the same signal
def test_the_books_are_exact_after_an_interrupt_anywhere(alarm):
    rng = random.Random(20)
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    recent: list[tuple[str, tuple[Account, ...]]] = []
    interrupted = 0
    for trial in range(6000):
        commands = batch(rng, str(trial), recent)
        if trial % 20 == 0:
            clock.advance(rng.choice([1, 61, 7200]))
        try:
            alarm(1e-6 + rng.random() * 50e-6)
            store.execute(commands)
            alarm(0)
        except KeyboardInterrupt:
            interrupted += 1
        assert not store._lock.locked()
        report = store.audit()
        assert report.exact, (commands, report.differences)
        hold = store._ledger._holds.get(str(trial))
        if hold is not None and hold.request is not None:  # and it holds what was asked for, in every account
            held = [(meter, amount) for _, meter, _, amount in hold.entries]
            assert held == [(meter, commands[0].amounts[meter]) for _ in range(3) for meter, _ in LIMITS]
    assert interrupted > 500


@pytest.mark.parametrize("verb", [Ledger._reserve, Ledger._commit])
def test_no_turn_of_a_loop_over_money_can_be_left_outside_of_its_try(verb):
    """Signals are looked for where a loop jumps back. Some compilers leave such a jump out of the `try` it
    stands in (3.13 does, behind a branch at the end of a loop), and then an interrupt is half a transfer.
    """
    code = dis.Bytecode(verb)
    guarded = [(entry.start, entry.end) for entry in code.exception_entries]
    instructions = list(code)
    heads = {
        i.offset
        for i in instructions
        if i.opname == "FOR_ITER" and any(start <= i.offset < end for start, end in guarded)
    }
    jumps = [i for i in instructions if i.opname == "JUMP_BACKWARD" and i.argval in heads]
    assert jumps
    for jump in jumps:
        assert any(start <= jump.offset < end for start, end in guarded), f"line {jump.positions.lineno}"
