"""Links of both colours on a real server: replies, lost scripts, lost servers, forks, loops."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from costscope.errors import StoreError, StoreMisconfigured, StoreUnavailable
from costscope_valkey.alink import AsyncLink
from costscope_valkey.link import Link, Script
from costscope_valkey.url import parse_url


def test_a_script_gets_its_keys_and_arguments(open_link, valkey_url):
    link = open_link(valkey_url)
    script = Script("return {KEYS[1], KEYS[2], ARGV[1], #ARGV}")
    assert link.call(script, ["{t}a", b"{t}b"], ["ü", 7]) == [b"{t}a", b"{t}b", "ü".encode(), 2]


def test_a_large_payload_arrives_whole(open_link, valkey_url, echo):
    text = "x" * 3_000_000
    assert open_link(valkey_url).call(echo, ["k"], [text]) == text.encode()


def test_a_plain_command(open_link, valkey_url):
    link = open_link(valkey_url)
    assert link.command("ECHO", "hello") == b"hello"
    assert link.command("MGET", "{t}no", "{t}nothing") == [None, None]


def test_a_script_the_server_forgot_is_sent_in_full(open_link, valkey_server_factory, echo):
    server = valkey_server_factory()
    link = open_link(server.url)
    for round_ in range(3):
        assert link.call(echo, ["k"], [round_]) == str(round_).encode()
        assert link.command("SCRIPT", "EXISTS", echo.sha) == [1]
        server.ask("SCRIPT FLUSH")


def test_an_error_of_a_script_is_raised_and_the_link_stays_usable(open_link, valkey_url, echo):
    link = open_link(valkey_url)
    with pytest.raises(StoreError, match="refused the request"):
        link.call(Script("return redis.call('NOSUCHCOMMAND')"), ["k"], [])
    with pytest.raises(StoreError, match="my own words"):
        link.call(Script("return redis.error_reply('ERR my own words')"), ["k"], [])
    assert link.call(echo, ["k"], ["still here"]) == b"still here"


def test_an_error_reply_does_not_cost_the_connection(open_link, valkey_url):
    link = open_link(valkey_url)
    before = link.command("CLIENT", "ID")
    with pytest.raises(StoreError):
        link.command("NOSUCHCOMMAND")
    assert link.command("CLIENT", "ID") == before


def test_the_database_of_the_url_is_used(open_link, valkey_server_factory):
    server = valkey_server_factory()
    open_link(f"{server.url}?db=3").command("SET", "k", "three")
    assert open_link(f"{server.url}?db=3").command("GET", "k") == b"three"
    assert open_link(server.url).command("GET", "k") is None


def test_tcp(open_link, valkey_server_factory, echo):
    server = valkey_server_factory(tcp=True)
    assert open_link(server.tcp_url).call(echo, ["k"], ["tcp"]) == b"tcp"


def test_a_connection_the_server_closed_is_replaced_unnoticed(open_link, valkey_server_factory, echo):
    server = valkey_server_factory()
    link = open_link(server.url)
    link.call(echo, ["k"], ["a"])
    server.ask("CLIENT KILL TYPE normal SKIPME yes")
    assert link.call(echo, ["k"], ["b"]) == b"b"


def test_a_server_that_was_restarted_is_found_again(open_link, valkey_server_factory, patient, echo):
    server = valkey_server_factory()
    link = open_link(patient(server.url))
    link.call(echo, ["k"], ["a"])
    server.kill()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(link.call, echo, ["k"], ["b"])
        server.start()
        assert answer.result(30) == b"b"


def test_a_lost_connection_is_reported_to_who_can_bring_the_server_back(
    open_link, valkey_server_factory, patient
):
    server = valkey_server_factory()
    server.kill()
    asked = []

    def revive() -> None:
        asked.append(1)
        if len(asked) == 1:
            server.start()

    link = open_link(patient(server.url), on_lost=revive)
    assert link.command("PING") == b"PONG"
    assert asked


def test_clients_are_named(open_link, valkey_server_factory):
    link = open_link(valkey_server_factory().url)
    assert b"lib-name=costscope" in link.command("CLIENT", "LIST")


def test_threads_share_a_link_and_each_gets_its_own_answer(valkey_url, patient, echo):
    link = Link(patient(valkey_url))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: link.call(echo, ["k"], [n]), range(400)))
    assert answers == [str(n).encode() for n in range(400)]
    link.close()


def test_an_interrupt_between_request_and_reply_costs_the_connection_only(
    valkey_url, patient, echo, monkeypatch
):
    link = Link(patient(valkey_url))
    link.call(echo, ["k"], ["a"])
    wire = link._wire
    monkeypatch.setattr(wire, "read_response", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        link.call(echo, ["k"], ["never read"])
    monkeypatch.undo()
    assert link.call(echo, ["k"], ["b"]) == b"b"
    link.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(valkey_url, echo):
    link = Link(parse_url(valkey_url))
    mine = link.command("CLIENT", "ID")
    reading, writing = os.pipe()
    link._turn.acquire()  # as another thread of the parent would, in the middle of a request
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.write(writing, str(link.command("CLIENT", "ID")).encode())
        os._exit(0)
    link._turn.release()
    os.close(writing)
    os.waitpid(child, 0)
    theirs = int(os.read(reading, 100))
    os.close(reading)
    assert theirs != mine
    assert link.command("CLIENT", "ID") == mine
    link.close()


def test_each_event_loop_has_its_own_connection_and_leaves_none_behind(
    valkey_server_factory, echo, eventually
):
    server = valkey_server_factory()
    link = AsyncLink(parse_url(server.url))
    ids = {asyncio.run(link.command("CLIENT", "ID")) for _ in range(3)}
    assert len(ids) == 3
    eventually(lambda: "connected_clients:1\r" in server.ask("INFO clients"))


def test_a_loop_that_was_just_closed_makes_no_noise(valkey_server_factory, echo, eventually):
    """ResourceWarning and `Event loop is closed` fail the test run."""
    server = valkey_server_factory()
    link = AsyncLink(parse_url(server.url))
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(link.call(echo, ["k"], ["x"])) == b"x"
        loop.close()
    del loop
    assert asyncio.run(link.call(echo, ["k"], ["y"])) == b"y"
    eventually(lambda: "connected_clients:1\r" in server.ask("INFO clients"))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(link.call(echo, ["k"], ["x"]))
    loop.close()
    del loop, link
    gc.collect()
    eventually(lambda: "connected_clients:1\r" in server.ask("INFO clients"))


def test_event_loops_in_threads_share_a_link(valkey_url, patient, echo):
    link = AsyncLink(patient(valkey_url))

    async def some(start: int) -> list[object]:
        return await asyncio.gather(*(link.call(echo, ["k"], [start + n]) for n in range(50)))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda start: asyncio.run(some(start)), [0, 100, 200, 300]))
    assert answers == [[str(start + n).encode() for n in range(50)] for start in (0, 100, 200, 300)]


def test_what_is_settled_while_the_loop_ends_is_sent(valkey_url, echo):
    """`asyncio.run` cancels every task; their `finally` blocks still talk to the server."""
    link = AsyncLink(parse_url(valkey_url))
    settled = []

    async def agent(n: int) -> None:
        try:
            await link.call(echo, ["k"], [n])
            await asyncio.Event().wait()
        finally:
            settled.append(await link.call(echo, ["k"], [n]))

    async def main() -> None:
        agents = [asyncio.create_task(agent(n)) for n in range(5)]
        await link.call(echo, ["k"], ["x"])
        await asyncio.sleep(0)
        assert agents

    asyncio.run(main())
    assert sorted(settled) == [b"0", b"1", b"2", b"3", b"4"]


def test_cancelled_calls_never_mix_up_the_replies_of_others(valkey_url, patient, echo):
    link = AsyncLink(patient(valkey_url))
    dice = random.Random(7)

    async def one(n: int) -> tuple[int, object]:
        return n, await link.call(echo, ["k"], [n])

    async def storm() -> tuple[int, int]:
        survivors = cancelled = 0
        for round_ in range(20):
            tasks = [asyncio.create_task(one(round_ * 100 + n)) for n in range(40)]
            for task in dice.sample(tasks, 15):
                asyncio.get_running_loop().call_later(dice.random() * 0.002, task.cancel)
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, asyncio.CancelledError):
                    cancelled += 1
                else:
                    survivors += 1
                    assert result[1] == str(result[0]).encode()
        return survivors, cancelled

    survivors, cancelled = asyncio.run(storm())
    assert survivors >= 500
    assert cancelled > 20


def test_a_cancelled_call_costs_no_connection(valkey_url, patient, echo):
    link = AsyncLink(patient(valkey_url))

    async def main() -> None:
        before = await link.command("CLIENT", "ID")
        for _ in range(20):
            task = asyncio.create_task(link.call(echo, ["k"], ["x"]))
            await asyncio.sleep(0)
            task.cancel()
        assert await link.command("CLIENT", "ID") == before

    asyncio.run(main())


def test_a_reply_that_cannot_be_decoded_is_the_callers_error(valkey_url, echo):
    link = AsyncLink(parse_url(valkey_url))

    async def main() -> None:
        await link.command("PING")
        with pytest.raises(ZeroDivisionError):
            await link.submit(echo, ["k"], ["x"], then=lambda _: 1 // 0)
        assert await link.submit(echo, ["k"], ["x"], then=lambda reply: [reply]) == [b"x"]

    asyncio.run(main())


def test_requests_before_the_first_connection_share_it(valkey_server_factory, echo):
    server = valkey_server_factory()
    link = AsyncLink(parse_url(server.url))

    async def main() -> set[object]:
        return set(await asyncio.gather(*(link.command("CLIENT", "ID") for _ in range(30))))

    assert len(asyncio.run(main())) == 1


def test_a_link_that_is_closed_opens_again(open_link, valkey_url, echo):
    link = open_link(valkey_url)
    link.call(echo, ["k"], ["a"])
    if open_link.colour == "sync":
        link.close()
    else:
        link._runner.run(link._link.aclose())
    assert link.call(echo, ["k"], ["b"]) == b"b"


@pytest.mark.parametrize("error", [StoreMisconfigured, StoreUnavailable])
def test_store_errors_of_a_hook_pass_unchanged(error):
    from costscope_valkey.failures import translate

    raised = error("as it was")
    assert translate(raised, parse_url("valkey://h"), time.monotonic()) is raised
