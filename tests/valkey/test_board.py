"""The board on Valkey: its keys and how long they live, lost answers, full servers, servers that forgot the script."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from fake_valkey import FakeValkeyStore
from valkey.exceptions import ConnectionError as LostConnection

from costscope.board import (
    AckDeliveries,
    CallCounts,
    Forget,
    LeaseDeliveries,
    Pace,
    Publish,
    ReadEvents,
    RecordCall,
    SetOnce,
)
from costscope.errors import StoreUnavailable
from costscope_valkey import open_url
from costscope_valkey.coordination import board_requests
from costscope_valkey.keys import LedgerKeys
from costscope_valkey.pipe import Pipe

PATIENT = "?ledger=b&connect_timeout_ms=10000&operation_timeout_ms=20000&total_timeout_ms=40000"
ROOT = "costscope:1:{b}:board:"
HOUR = 3_600_000
DAY = 24 * HOUR

EVERYTHING = [
    SetOnce("group#what", "value", HOUR),
    RecordCall("run/r-1", "digest", True, HOUR),
    Pace("group", HOUR, HOUR),
    Publish("id-1", '{"type":"x"}', "group#80", HOUR, ("ops",)),
    ReadEvents(),
    LeaseDeliveries(HOUR),
    AckDeliveries(("id-1:nobody",)),
    Forget("other"),
]


@pytest.fixture
def server(valkey_server_factory):
    return valkey_server_factory(appendonly="yes")


@pytest.fixture
def store(server):
    store = open_url(server.url + PATIENT)
    yield store
    store.close()


@pytest.fixture(params=["sync", "async"])
def tell(request, store):
    """Applies operations in one colour or the other."""
    if request.param == "sync":
        yield lambda *ops: store.tell(ops)
        return
    with asyncio.Runner() as runner:
        yield lambda *ops: runner.run(store.atell(ops))
        runner.run(store.aclose())


def keys_of(store) -> dict[str, int]:
    """Every key of the board, and when it expires."""
    found = [key.decode() for key in store._link.command("KEYS", ROOT + "*")]
    return {key.removeprefix(ROOT): store._link.command("PTTL", key) for key in found}


def test_every_key_is_under_the_tag_of_the_ledger_and_expires(tell, store):
    tell(*EVERYTHING)
    left = keys_of(store)
    slow = 60_000
    assert set(left) == {
        *("events", "ids", "due", "aging", "payload", "attempts"),
        *("marks:group", "values:group", "notes:run/r-1", "pace:group"),
    }
    for name in ("marks:group", "values:group", "notes:run/r-1", "pace:group"):
        assert HOUR - slow < left[name] <= HOUR, name
    for name in ("due", "aging", "payload", "attempts"):
        assert 7 * DAY - slow < left[name] <= 7 * DAY, name
    for name in ("events", "ids"):
        assert 35 * DAY - slow < left[name] <= 35 * DAY, name


def test_a_group_lives_as_long_as_the_last_of_its_marks(tell, store):
    tell(SetOnce("g#long", "v", HOUR), SetOnce("g#short", "v", 1000), Publish("1", "{}", "g#p", 1000))
    assert keys_of(store)["marks:g"] > HOUR - 60_000
    assert keys_of(store)["values:g"] > HOUR - 60_000


def test_what_is_done_with_leaves_nothing(tell, store):
    tell(
        *EVERYTHING, AckDeliveries(("id-1:ops",)), Forget("group"), Forget("run/r-1"), SetOnce("g#x", "v", 0)
    )
    assert set(keys_of(store)) == {"events", "ids"}


def test_marks_that_are_over_leave_a_group_that_lives_on(tell, store):
    tell(*[SetOnce(f"g#{at}", "v", 0 if at else HOUR) for at in range(300)])
    assert store._link.command("ZCARD", ROOT + "marks:g") == 1
    assert store._link.command("HLEN", ROOT + "values:g") == 1


@pytest.mark.parametrize("name", ["a{b}c", "}", "ü \n \x00", "a:b", "x" * 10_000, "%7B", "*", ""])
def test_names_are_only_names(tell, store, name):
    """What looks like a separator, a pattern or a hash tag means nothing."""
    assert (
        tell(SetOnce(f"{name}#{name}", name or "v", HOUR), SetOnce(f"{name}#{name}", "other", HOUR))
        == [name or "v"] * 2
    )
    assert tell(RecordCall(name, name, True, HOUR), RecordCall(name + "x", name, True, HOUR)) == [
        CallCounts(1, 1 if name else 0, 1),
        CallCounts(1, 1 if name else 0, 1),
    ]
    assert tell(Pace(name, HOUR, 0)) == [0]
    assert tell(Publish(name, name, f"{name}#{name}", HOUR, (name,))) == [True]
    assert [one.record for one in tell(ReadEvents())[0]] == [name]
    (taken,) = tell(LeaseDeliveries(HOUR))
    assert [(one.id, one.webhook, one.record) for one in taken] == [(f"{name}:{name}", name, name)]
    assert tell(Forget(name)) == [4]


def test_a_repeated_request_gets_the_same_answers(store):
    """Its answer was lost on the way. What it published itself it still calls its own."""
    ops = [
        SetOnce("g#x", "mine", HOUR),
        Publish("1", "{}", "g#80", HOUR, ("ops",)),
        Publish("1", "{}"),
        Publish("2", "{}", "g#80", HOUR),
        Publish("3", "{}"),
    ]
    (request,) = board_requests(ops, LedgerKeys("b"))
    replies = [request.read(store._link.call(store._board, request.keys, request.args)) for _ in range(3)]
    assert replies == [["mine", True, False, False, True]] * 3
    assert len(store.tell([ReadEvents()])[0]) == 2
    assert len(store.tell([LeaseDeliveries(HOUR)])[0]) == 1
    assert store.tell(ops) == ["mine", False, False, False, False], "another request is another matter"


def test_a_lost_answer_is_asked_for_again(tell, store, monkeypatch):
    """The connection breaks when the operations have been applied and before the answer is read."""
    tell(SetOnce("warm#x", "v", HOUR))
    wire = store._link._wire
    receive, lost = wire.read_response, []

    def lose_reply():
        lost.append(receive())
        monkeypatch.undo()
        raise LostConnection("between the server and us")

    def lose_data(pipe, data):
        lost.append(data)
        monkeypatch.undo()
        pipe.give_up(LostConnection("between the server and us"))

    monkeypatch.setattr(wire, "read_response", lose_reply)
    monkeypatch.setattr(Pipe, "data_received", lose_data)
    published, noted = tell(Publish("1", "{}", "g#80", HOUR), RecordCall("run", "d", True, HOUR))
    assert published
    assert (noted.failures, noted.repeats, noted.calls) == (2, 2, 2)
    assert len(lost) == 1


def test_an_id_that_is_published_again_later_is_delivered_as_new(tell):
    tell(Publish("again", "old", deliver=("ops",)), LeaseDeliveries(0), LeaseDeliveries(0))
    tell(*[Publish(f"{at}", "{}") for at in range(1000)])
    assert tell(Publish("again", "new", deliver=("ops",))) == [True]
    (taken,) = tell(LeaseDeliveries(HOUR))
    assert [(one.record, one.attempt) for one in taken] == [("new", 1)]


def test_the_oldest_of_too_many_deliveries_are_given_up(tell, store):
    hooks = tuple(f"hook-{at:04}" for at in range(1000))
    for at in range(100):
        tell(Publish(f"{at:03}", "{}", deliver=hooks))
    tell(Publish("last", "{}", deliver=("ops", "dev")))
    counts = [store._link.command(*words) for words in (("ZCARD", ROOT + "due"), ("HLEN", ROOT + "payload"))]
    assert counts == [100_000, 100_000]
    gone = tuple(f"000:{hook}" for hook in hooks[:3])
    assert tell(AckDeliveries((*gone, "last:ops"))) == [2]


def test_a_server_that_forgot_the_script_learns_it_again(tell, server):
    for at in range(3):
        assert tell(SetOnce(f"g#{at}", "v", HOUR)) == ["v"]
        server.ask("SCRIPT FLUSH")


def test_a_full_server_says_so_and_changes_nothing(tell, store, server):
    tell(*EVERYTHING)
    before = {key: store._link.command("DUMP", ROOT + key) for key in keys_of(store)}
    server.ask("CONFIG SET maxmemory 1mb")
    for op in (
        SetOnce("g#new", "v", HOUR),
        RecordCall("run/r-1", "d", False, HOUR),
        Pace("new", HOUR, 0),
        Publish("id-2", "{}", "g#90", HOUR, ("ops",)),
    ):
        with pytest.raises(StoreUnavailable, match=r"OOM: .*raise maxmemory"):
            tell(op)
    assert {key: store._link.command("DUMP", ROOT + key) for key in keys_of(store)} == before
    server.ask("CONFIG SET maxmemory 100mb")
    assert tell(SetOnce("g#new", "v", HOUR)) == ["v"]


def test_a_server_that_was_restarted_still_has_the_board(tell, server):
    tell(*EVERYTHING)
    server.kill()
    server.start()
    assert tell(SetOnce("group#what", "other", HOUR), Publish("id-9", "{}", "group#80", HOUR)) == [
        "value",
        False,
    ]
    assert [one.record for one in tell(ReadEvents())[0]] == ['{"type":"x"}']


def test_a_frozen_server_is_unavailable_in_time(server):
    store = open_url(f"{server.url}?ledger=b&operation_timeout_ms=50&total_timeout_ms=100")
    with asyncio.Runner() as runner:
        server.freeze()
        with pytest.raises(StoreUnavailable):
            store.tell([LeaseDeliveries(HOUR)])
        with pytest.raises(StoreUnavailable):
            runner.run(store.atell([LeaseDeliveries(HOUR)]))
        server.thaw()
        runner.run(store.aclose())


def test_a_store_that_opened_on_a_server_that_was_away_checks_it_first(valkey_server_factory):
    server = valkey_server_factory(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    server.kill()
    store = open_url(server.url + "?total_timeout_ms=50")
    server.start()
    with pytest.raises(Exception, match="maxmemory-policy is allkeys-lru"):
        store.tell([LeaseDeliveries(HOUR)])
    store.close()


def test_a_ledger_has_a_board_of_its_own(server):
    one, other = open_url(f"{server.url}?ledger=one"), open_url(f"{server.url}?ledger=other")
    one.tell([SetOnce("g#x", "one", HOUR)])
    assert other.tell([SetOnce("g#x", "other", HOUR)]) == ["other"]
    one.close()
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_tells_on_a_connection_of_its_own(store):
    store.tell([RecordCall("run", "d", True, HOUR)])
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if store.tell([RecordCall("run", "d", True, HOUR)])[0].calls == 2 else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert store.tell([RecordCall("run", "d", True, HOUR)])[0].calls == 3


def test_a_cancelled_caller_does_not_take_its_operations_back(store):
    """They are on their way before it waits."""

    async def main() -> list[object]:
        await store.atell([SetOnce("warm#x", "v", HOUR)])
        task = asyncio.create_task(store.atell([SetOnce("g#x", "cancelled", HOUR)]))
        await asyncio.sleep(0)
        task.cancel()
        answers = await store.atell([SetOnce("g#x", "later", HOUR)])
        await store.aclose()
        return answers

    assert asyncio.run(main()) == ["cancelled"]


def test_the_script_makes_no_globals():
    """One that does poisons every later script of a fakeredis server, and is an error on a real one."""
    store = FakeValkeyStore()
    store.tell(EVERYTHING)
    store.tell(EVERYTHING)
    store.close()
