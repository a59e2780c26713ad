"""Coalescing: nobody waits when nothing is in flight, batches gather, and one caller's fate is not the others'."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from costscope.errors import StoreError, StoreUnavailable
from costscope_valkey.coalesce_tasks import FLIGHTS_MAX, FULL_ENOUGH, TaskCoalescer
from costscope_valkey.coalesce_threads import BATCH_MAX, ThreadCoalescer


class Gate:
    """A `send` for threads that answers each command with its double, and can be held shut."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.arrived = threading.Semaphore(0)
        self.raises: list[BaseException] = []

    def __call__(self, batch):
        self.batches.append(list(batch))
        self.arrived.release()
        assert self.open.wait(20)
        if self.raises:
            raise self.raises.pop(0)
        return [2 * command for command in batch]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(40) as executor:
        yield executor


def queued(coalescer: ThreadCoalescer, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(coalescer._queue) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_caller_who_is_alone_goes_straight_through(gate):
    coalescer = ThreadCoalescer(gate)
    assert coalescer.execute([1, 2]) == [2, 4]
    assert coalescer.execute([]) == []
    assert coalescer.execute([3]) == [6]
    assert gate.batches == [[1, 2], [], [3]]


def test_while_one_batch_is_in_flight_the_next_gathers(gate, pool):
    coalescer = ThreadCoalescer(gate, wait_s=20)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)
    rest = []
    for n in range(1, 11):
        rest.append(pool.submit(coalescer.execute, [n, -n]))
        queued(coalescer, n)
    gate.open.set()
    assert first.result(20) == [0]
    assert [future.result(20) for future in rest] == [[2 * n, -2 * n] for n in range(1, 11)]
    assert gate.batches == [[0], [sign * n for n in range(1, 11) for sign in (1, -1)]]


def test_a_batch_holds_at_most_256_commands_and_never_splits_a_caller(gate, pool):
    coalescer = ThreadCoalescer(gate, wait_s=20)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)
    rest = []
    for n in range(6):
        rest.append(pool.submit(coalescer.execute, [n] * 100))
        queued(coalescer, n + 1)
    gate.open.set()
    assert first.result(20) == [0]
    assert [future.result(20) for future in rest] == [[2 * n] * 100 for n in range(6)]
    assert [len(batch) for batch in gate.batches] == [1, 200, 200, 200]


def test_one_caller_with_more_than_256_commands_is_served_in_order(gate):
    commands = list(range(2 * BATCH_MAX + 5))
    assert ThreadCoalescer(gate).execute(commands) == [2 * command for command in commands]
    assert [len(batch) for batch in gate.batches] == [BATCH_MAX, BATCH_MAX, 5]


def test_an_error_reaches_everybody_in_the_batch_as_an_instance_of_their_own(gate, pool):
    coalescer = ThreadCoalescer(gate, wait_s=20)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)
    rest = [pool.submit(coalescer.execute, [n]) for n in range(5)]
    queued(coalescer, 5)
    gate.raises = [StoreUnavailable("away"), StoreUnavailable("still away")]
    gate.open.set()
    assert str(first.exception(20)) == "away"
    errors = [future.exception(20) for future in rest]
    assert {str(error) for error in errors} == {"still away"}
    assert {type(error) for error in errors} == {StoreUnavailable}
    assert len({id(error) for error in errors}) == 5
    assert coalescer.execute([4]) == [8]


def test_too_few_replies_are_an_error_and_not_somebody_elses_answer(pool):
    with pytest.raises(StoreError, match="1 replies to 2 commands"):
        ThreadCoalescer(lambda batch: [1]).execute([1, 2])


def test_a_follower_does_not_wait_for_ever(gate, pool):
    coalescer = ThreadCoalescer(gate, wait_s=0.05)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)
    with pytest.raises(StoreUnavailable, match="no answer after 50 ms"):
        coalescer.execute([1])
    gate.open.set()
    assert first.result(20) == [0]
    assert coalescer.execute([2]) == [4]
    assert gate.batches == [[0], [2]], "who gave up before the batch left is not sent"


def test_an_interrupted_leader_does_not_strand_its_followers(gate, pool):
    coalescer = ThreadCoalescer(gate, wait_s=20)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)
    followers = []
    for n in range(1, 6):
        followers.append(pool.submit(coalescer.execute, [n]))
        queued(coalescer, n)
    gate.raises = [KeyboardInterrupt(), KeyboardInterrupt()]
    gate.open.set()
    assert isinstance(first.exception(20), KeyboardInterrupt)
    assert isinstance(followers[0].exception(20), KeyboardInterrupt), "it led the second batch"
    assert [future.result(20) for future in followers[1:]] == [[4], [6], [8], [10]]
    assert gate.batches == [[0], [1, 2, 3, 4, 5], [2, 3, 4, 5]]


def test_who_gave_up_before_the_leader_was_interrupted_is_not_made_a_leader(gate, pool):
    coalescer = ThreadCoalescer(gate, wait_s=0.4)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)
    leader = pool.submit(coalescer.execute, [1])
    queued(coalescer, 1)
    follower = pool.submit(coalescer.execute, [2])
    queued(coalescer, 2)
    held, gate.open = gate.open, threading.Event()
    held.set()
    assert first.result(20) == [0]
    assert gate.arrived.acquire(timeout=20)
    assert isinstance(follower.exception(20), StoreUnavailable)
    gate.raises = [KeyboardInterrupt()]
    gate.open.set()
    assert isinstance(leader.exception(20), KeyboardInterrupt)
    assert coalescer.execute([3]) == [6]
    assert gate.batches == [[0], [1, 2], [3]]


def test_an_interrupted_follower_leaves_no_trace(gate, pool, monkeypatch):
    coalescer = ThreadCoalescer(gate, wait_s=20)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)

    class Interrupting:
        def acquire(self, timeout):
            raise KeyboardInterrupt

        def release(self):
            raise RuntimeError

    original = threading.Lock
    monkeypatch.setattr(
        "costscope_valkey.coalesce_threads.threading.Lock", lambda: _Once(original(), Interrupting())
    )
    with pytest.raises(KeyboardInterrupt):
        coalescer.execute([1])
    monkeypatch.undo()
    gate.open.set()
    assert first.result(20) == [0]
    assert coalescer.execute([2]) == [4]
    assert gate.batches == [[0], [2]]


class _Once:
    """A lock that can be taken once without waiting, and whose second taking is interrupted."""

    def __init__(self, lock, interrupting) -> None:
        self._lock = lock
        self._interrupting = interrupting

    def acquire(self, *args, **options):
        return self._interrupting.acquire(**options) if options else self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


def test_no_thread_serves_the_others_for_ever(pool):
    """Under endless load a leader returns after its own batch."""
    mine = threading.local()
    start = threading.Barrier(8)

    def send(batch):
        mine.sent += 1
        return list(batch)

    coalescer = ThreadCoalescer(send, wait_s=20)

    def caller(n: int) -> None:
        start.wait(20)
        for i in range(200):
            mine.sent = 0
            assert coalescer.execute([(n, i)]) == [(n, i)]
            assert mine.sent <= 1

    for future in [pool.submit(caller, n) for n in range(8)]:
        future.result(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_in_the_middle_of_a_batch_starts_afresh(gate, pool):
    coalescer = ThreadCoalescer(gate, wait_s=20)
    gate.open.clear()
    first = pool.submit(coalescer.execute, [0])
    assert gate.arrived.acquire(timeout=20)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        gate.open.set()
        os._exit(0 if coalescer.execute([1]) == [2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.open.set()
    assert first.result(20) == [0]


# asyncio


class Flights:
    """A `send` for tasks: a coroutine, or a plain function that returns a future."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.raises: list[Exception] = []
        self.open: asyncio.Event | None = None

    async def coroutine(self, batch):
        self.batches.append(list(batch))
        if self.open is not None:
            await self.open.wait()
        await asyncio.sleep(0)
        if self.raises:
            raise self.raises.pop(0)
        return [2 * command for command in batch]

    def future(self, batch):
        self.batches.append(list(batch))
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(lambda: future.done() or future.set_result([2 * command for command in batch]))
        return future


@pytest.fixture
def flights() -> Flights:
    return Flights()


@pytest.mark.parametrize("kind", ["coroutine", "future"])
def test_tasks_share_batches(flights, kind):
    coalescer = TaskCoalescer(getattr(flights, kind))

    async def main() -> None:
        answers = await asyncio.gather(*(coalescer.execute([n, -n]) for n in range(300)))
        assert answers == [[2 * n, -2 * n] for n in range(300)]

    asyncio.run(main())
    assert [len(batch) for batch in flights.batches] == [2, FULL_ENOUGH, 256, 256, 22], (
        "the first leaves at once, a second when it is worth while, the others when one of the two has landed"
    )


def test_no_more_than_two_batches_of_a_loop_are_under_way(flights):
    under_way = most = 0

    async def send(batch):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        replies = await flights.coroutine(batch)
        under_way -= 1
        return replies

    coalescer = TaskCoalescer(send)

    async def main() -> None:
        assert await asyncio.gather(*(coalescer.execute([n]) for n in range(2000))) == [
            [2 * n] for n in range(2000)
        ]

    asyncio.run(main())
    assert most == FLIGHTS_MAX


@pytest.mark.parametrize("kind", ["coroutine", "future"])
def test_a_task_that_is_alone_is_sent_at_once(flights, kind):
    coalescer = TaskCoalescer(getattr(flights, kind))

    async def main() -> None:
        assert await coalescer.execute([1]) == [2]
        assert await coalescer.execute(list(range(300))) == [2 * n for n in range(300)]

    asyncio.run(main())
    assert [len(batch) for batch in flights.batches] == [1, 256, 44]


def test_a_cancelled_task_changes_nothing_for_the_others(flights):
    coalescer = TaskCoalescer(flights.coroutine)

    async def main() -> None:
        flights.open = asyncio.Event()
        tasks = [asyncio.create_task(coalescer.execute([n])) for n in range(6)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # in flight
        tasks[3].cancel()  # gathering
        await asyncio.sleep(0)
        flights.open.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results].count(asyncio.CancelledError) == 2
        assert [result for result in results if isinstance(result, list)] == [[2], [4], [8], [10]]

    asyncio.run(main())
    assert flights.batches == [[0], [1, 2, 3, 4, 5]], "what was cancelled is sent all the same"


def test_tasks_cancelled_at_random_moments_never_mix_up_answers(flights):
    coalescer = TaskCoalescer(flights.coroutine)
    dice = random.Random(3)

    async def main() -> int:
        survivors = 0
        for _ in range(30):
            tasks = [asyncio.create_task(coalescer.execute([n] * dice.randint(1, 5))) for n in range(60)]
            for task in dice.sample(tasks, 20):
                for _ in range(dice.randint(0, 2)):
                    await asyncio.sleep(0)
                task.cancel()
            for n, result in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                if isinstance(result, list):
                    survivors += 1
                    assert set(result) == {2 * n}
        return survivors

    assert asyncio.run(main()) >= 30 * 40


def test_an_error_reaches_every_task_of_the_batch_as_its_own_instance(flights):
    coalescer = TaskCoalescer(flights.coroutine)
    flights.raises = [StoreUnavailable("away"), StoreUnavailable("still away")]

    async def main() -> None:
        errors = await asyncio.gather(*(coalescer.execute([n]) for n in range(5)), return_exceptions=True)
        assert [str(error) for error in errors] == ["away", *["still away"] * 4]
        assert len({id(error) for error in errors}) == 5
        assert await coalescer.execute([1]) == [2]

    asyncio.run(main())


def test_a_send_that_fails_before_it_waits_reaches_every_task():
    def send(batch):
        raise ZeroDivisionError

    coalescer = TaskCoalescer(send)

    async def main() -> None:
        errors = await asyncio.gather(*(coalescer.execute([n]) for n in range(3)), return_exceptions=True)
        assert [type(error) for error in errors] == [ZeroDivisionError] * 3

    asyncio.run(main())


def test_too_few_replies_are_an_error_for_tasks_too():
    async def send(batch):
        return [1]

    async def main() -> None:
        with pytest.raises(StoreError, match="1 replies to 2 commands"):
            await TaskCoalescer(send).execute([1, 2])

    asyncio.run(main())


def test_who_still_waits_when_the_sending_task_is_cancelled_is_sent_again(flights):
    coalescer = TaskCoalescer(flights.coroutine)

    async def main() -> None:
        flights.open = asyncio.Event()
        callers = [asyncio.create_task(coalescer.execute([n])) for n in range(3)]
        await asyncio.sleep(0)
        (sender,) = asyncio.all_tasks() - {*callers, asyncio.current_task()}
        await asyncio.sleep(0)
        sender.cancel()
        flights.open.set()
        assert await asyncio.gather(*callers) == [[0], [2], [4]]

    asyncio.run(main())
    assert flights.batches == [[0], [0, 1, 2]]


def test_when_every_task_is_cancelled_what_is_settled_afterwards_still_arrives(flights):
    """`asyncio.run` cancels the sending task as well; a `finally` that commits must still be served."""
    coalescer = TaskCoalescer(flights.coroutine)
    settled = []

    async def agent(n: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            settled.append(await coalescer.execute([n]))

    async def main() -> None:
        agents = [asyncio.create_task(agent(n)) for n in range(4)]
        waiting = asyncio.create_task(coalescer.execute([9]))
        await asyncio.sleep(0)
        assert agents
        assert waiting

    asyncio.run(main())
    assert sorted(settled) == [[0], [2], [4], [6]]


def test_loops_do_not_share_batches_and_are_not_kept_alive(flights):
    coalescer = TaskCoalescer(flights.coroutine)
    loops = []

    async def main() -> list[int]:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        return await coalescer.execute([1])

    with ThreadPoolExecutor(3) as pool:
        assert [future.result(20) for future in [pool.submit(asyncio.run, main()) for _ in range(6)]] == [
            [2]
        ] * 6
    gc.collect()
    assert [ref() for ref in loops] == [None] * 6
