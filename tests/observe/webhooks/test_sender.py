"""Sending: signed, at least once, with the same id each time, to nobody else."""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import threading
import time
import weakref
from contextlib import ExitStack

import pytest
from happenings import happening
from running import open_url
from webhook_workers import HASTY_S, RETRY_S, SECRET, send_until_killed, sender_for

from costscope.board import AckDeliveries, Publish
from costscope.events import encode_event
from costscope.testing import ManualClock, OutageStore
from costscope.webhooks import verify
from costscope_memory import MemoryStore


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def publish(store):
    """Puts a record on the board that these webhooks wait for; what is returned is the record."""

    def put(*names, **said):
        event = happening(**said)
        record = encode_event(event)
        assert store.tell([Publish(event.id, record, deliver=names or ("ops",))]) == [True]
        return event.id, record

    return put


@pytest.fixture
def sender(store):
    """Makes senders."""
    made = []

    def make(**given):
        made.append(sender_for(store, **given))
        return made[-1]

    yield make
    for one in made:
        one.close(0)


def undone(store, *ids):
    """How many of these deliveries are still on the board; they are not, afterwards."""
    return store.tell([AckDeliveries(ids)])[0]


def look_until(sender, condition, within_s=30.0, clock=None):
    """Look again and again, as the thread of a sender does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        sender.look()
        time.sleep(0.02)
        if clock is not None:
            clock.advance(1)


def test_a_record_arrives_signed_and_is_then_done(store, sender, publish, receive):
    receiver = receive(204)
    event_id, record = publish()
    sender(ops=receiver.url).look()
    [request] = receiver.requests
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["content-type"] == "application/json"
    assert request.body == record.encode()
    assert verify(SECRET, request.headers, request.body) == f"{event_id}:ops"
    assert not undone(store, f"{event_id}:ops")
    sender(ops=receiver.url).look()
    assert len(receiver.requests) == 1


def test_each_webhook_gets_what_is_meant_for_it(sender, publish, receive):
    ops, finance, nobody = receive(200), receive(202), receive(200)
    first, second = publish("ops")[0], publish("ops", "finance")[0]
    sender(ops=ops.url, finance=finance.url, nobody=nobody.url).look()
    assert sorted(ops.ids) == sorted([f"{first}:ops", f"{second}:ops"])
    assert finance.ids == [f"{second}:finance"]
    assert nobody.requests == []


def test_many_are_sent_in_one_go(store, sender, publish, receive):
    receiver = receive(204)
    expected = [f"{publish()[0]}:ops" for _ in range(40)]
    look_until(sender(margin_s=0.05, timeout=RETRY_S, ops=receiver.url), lambda: len(receiver.requests) >= 40)
    assert sorted(receiver.ids) == sorted(expected)
    assert not undone(store, *expected)


@pytest.mark.parametrize("answer", [500, "drop"])
def test_what_was_not_accepted_comes_again_with_the_same_id_and_a_new_signature(
    answer, store, sender, publish, receive, caplog
):
    receiver = receive(answer, 204)
    event_id, record = publish()
    look_until(sender(margin_s=0.05, timeout=RETRY_S, ops=receiver.url), lambda: len(receiver.requests) == 2)
    assert receiver.ids == [f"{event_id}:ops"] * 2
    for request in receiver.requests:
        verify(SECRET, request.headers, request.body)
        assert request.body == record.encode()
    assert "tried again later" in caplog.text
    assert not undone(store, f"{event_id}:ops")


@pytest.mark.parametrize("answer", [503, 302, 404, 401, 422, 429, 408, "garbage", "hang"])
def test_everything_but_a_2xx_or_410_is_tried_again(answer, receive):
    """By the clock of a store in memory, which is moved by hand."""
    clock, receiver = ManualClock(), receive(answer, answer, 204)
    store = MemoryStore(clock=clock)
    event = happening()
    store.tell([Publish(event.id, encode_event(event), deliver=("ops",))])
    sending = sender_for(store, margin_s=0.05, timeout=RETRY_S, ops=receiver.url)
    look_until(sending, lambda: len(receiver.requests) == 3, clock=clock)
    assert receiver.ids == [f"{event.id}:ops"] * 3
    assert not undone(store, f"{event.id}:ops")
    sending.close(0)
    store.close()


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_who_does_not_answer_in_time_is_not_waited_for(answer, sender, publish, receive, caplog):
    """Neither for silence nor for one byte after the other."""
    receiver = receive(answer)
    publish()
    began = time.monotonic()
    sender(timeout=HASTY_S, ops=receiver.url).look()
    assert HASTY_S * 0.9 < time.monotonic() - began < HASTY_S + 5
    assert f"no answer within {HASTY_S:g} s" in caplog.text
    assert len(receiver.requests) == 1


def test_a_time_out_is_followed_by_another_attempt(sender, publish, receive):
    receiver = receive("hang", 204)
    event_id, _ = publish()
    look_until(sender(margin_s=0.05, timeout=RETRY_S, ops=receiver.url), lambda: len(receiver.requests) == 2)
    assert receiver.ids == [f"{event_id}:ops"] * 2


def test_a_slow_receiver_does_not_hold_up_another(sender, publish, receive):
    slow, quick = receive("hang"), receive(204)
    publish("slow", "quick")
    thread = threading.Thread(target=sender(timeout=2 * RETRY_S, slow=slow.url, quick=quick.url).look)
    began = time.monotonic()
    thread.start()
    quick.wait_for(1)
    assert time.monotonic() - began < 2 * RETRY_S
    thread.join()


def test_nobody_at_the_address_is_no_end(store, sender, publish, receive, caplog):
    receiver = receive(204)
    receiver.__exit__()
    event_id, _ = publish()
    sender(ops=receiver.url).look()
    assert "ConnectError" in caplog.text
    assert undone(store, f"{event_id}:ops")
    receiver.__exit__ = lambda: None


def test_a_redirect_is_not_followed(sender, publish, receive):
    other = receive(204)
    receiver = receive((302, {"location": other.url}), (307, {"location": other.url}), 204)
    publish()
    look_until(sender(margin_s=0.05, timeout=RETRY_S, ops=receiver.url), lambda: len(receiver.requests) >= 2)
    assert other.requests == []


def test_a_receiver_that_is_gone_for_good_gets_nothing_more(store, sender, publish, receive, caplog):
    receiver = receive(410)
    event_id, _ = publish()
    sender(ops=receiver.url).look()
    assert not undone(store, f"{event_id}:ops")
    assert [record.levelname for record in caplog.records if "given up" in record.message] == ["ERROR"]
    assert len(receiver.requests) == 1


def test_a_receiver_that_is_away_is_left_alone_for_a_while(sender, publish, receive):
    receiver = receive((503, {"retry-after": "60"}), 204)
    publish()
    sending = sender(ops=receiver.url)
    sending.look()
    publish()
    sending.look()
    assert len(receiver.requests) == 1


def test_a_record_that_is_refused_does_not_hold_up_the_next(sender, publish, receive):
    receiver = receive(400, 204)
    publish()
    sending = sender(ops=receiver.url)
    sending.look()
    following, _ = publish()
    sending.look()
    assert receiver.ids[1] == f"{following}:ops"


def test_a_webhook_that_this_policy_does_not_know_is_left_to_others(store, sender, publish, receive):
    receiver = receive(204)
    event_id, _ = publish("another")
    sender(ops=receiver.url).look()
    assert receiver.requests == []
    assert undone(store, f"{event_id}:another")


def test_nothing_is_lost_while_the_board_is_away(store, publish, receive):
    outage = OutageStore(store)
    receiver = receive(204)
    event_id, _ = publish()
    sending = sender_for(outage, ops=receiver.url)
    with outage.away():
        sending.look()
    assert receiver.requests == []
    sending.look()
    assert receiver.ids == [f"{event_id}:ops"]
    sending.close(0)


def test_what_could_not_be_acknowledged_arrives_again_under_its_id(
    store, publish, receive, monkeypatch, caplog
):
    outage = OutageStore(store)
    receiver = receive(204)
    event_id, _ = publish()
    sending = sender_for(outage, margin_s=0.05, timeout=RETRY_S, ops=receiver.url)
    handle, breaking = receiver._handle, ExitStack()

    def handle_and_take_away(handler):
        breaking.enter_context(outage.away())
        handle(handler)

    with breaking:
        monkeypatch.setattr(receiver, "_handle", handle_and_take_away)
        sending.look()
        assert outage.is_away
        assert "it will arrive again" in caplog.text
    monkeypatch.undo()
    look_until(sending, lambda: len(receiver.requests) == 2)
    assert receiver.ids == [f"{event_id}:ops"] * 2
    sending.close(0)


# --------------------------------------------------------------------------- its thread


def test_once_woken_it_sends_by_itself(sender, publish, receive):
    receiver = receive(500, 204)
    sending = sender(margin_s=0.05, timeout=RETRY_S, ops=receiver.url)
    publish()
    sending.wake()
    receiver.wait_for(2)  # the second attempt needs nobody's call


def test_closing_does_not_wait_for_a_receiver_that_hangs(store, publish, receive, caplog):
    receiver = receive("hang")
    event_id, _ = publish()
    sending = sender_for(store, ops=receiver.url)
    sending.wake()
    receiver.wait_for(1)
    began = time.monotonic()
    sending.close(0.05)
    assert time.monotonic() - began < 10, "it would hang for 20 s"
    assert not [one for one in threading.enumerate() if one.name == "costscope-webhooks"]
    assert undone(store, f"{event_id}:ops")
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_closing_sends_what_is_due(store, publish, receive):
    receiver = receive(204)
    sending = sender_for(store, ops=receiver.url)
    sending.wake()
    for _ in range(5):
        publish()
    sending.close(30)
    assert len(receiver.requests) == 5


def test_a_sender_that_everybody_has_forgotten_leaves_no_thread(store, receive):
    sending = sender_for(store, ops=receive().url)
    sending.wake()
    [thread] = [one for one in threading.enumerate() if one.name == "costscope-webhooks"]
    known = weakref.ref(sending)
    del sending
    deadline = time.monotonic() + 30
    while thread.is_alive():
        gc.collect()
        assert time.monotonic() < deadline
        thread.join(0.05)
    assert known() is None


# --------------------------------------------------------------------------- other processes


def test_what_a_killed_process_had_taken_another_one_delivers(valkey_url, receive):
    """SIGKILL between taking and acknowledging: the request is out, its answer never came."""
    receiver = receive("hang", 204)
    store = open_url(valkey_url)
    event = happening()
    store.tell([Publish(event.id, encode_event(event), deliver=("ops",))])
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=send_until_killed, args=(valkey_url, receiver.url))
    process.start()
    receiver.wait_for(1)
    process.kill()
    process.join()
    sending = sender_for(store, margin_s=0.05, timeout=RETRY_S, ops=receiver.url)
    look_until(sending, lambda: len(receiver.requests) == 2)
    assert receiver.ids == [f"{event.id}:ops"] * 2
    first, second = receiver.requests
    assert first.body == second.body
    assert verify(SECRET, second.headers, second.body) == verify(SECRET, first.headers, first.body)
    assert not undone(store, f"{event.id}:ops")
    sending.close(0)
    store.close()


def test_several_senders_share_the_work(store, publish, receive):
    receiver = receive(204)
    expected = {f"{publish()[0]}:ops" for _ in range(60)}
    senders = [sender_for(store, margin_s=0.05, timeout=RETRY_S, ops=receiver.url) for _ in range(4)]
    threads = [threading.Thread(target=one.look) for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    look_until(senders[0], lambda: len(set(receiver.ids)) == 60)
    assert set(receiver.ids) == expected
    for one in senders:
        one.close(0)


# --------------------------------------------------------------------------- what others can see


def test_no_log_shows_more_of_an_address_than_its_host(sender, publish, receive, caplog):
    """A path or query may hold a token."""
    caplog.set_level(logging.DEBUG)
    receiver = receive(500)
    publish()
    sending = sender(ops=f"{receiver.url}/s3cr3t?token=t0k3n")
    sending.look()
    assert receiver.requests[0].path.endswith("/s3cr3t?token=t0k3n")
    written = caplog.text + repr(sending._receivers)
    for secret in ("s3cr3t", "t0k3n", SECRET):
        assert secret not in written
    assert "at http://127.0.0.1:" in caplog.text


def test_neither_secret_nor_signature_key_is_in_the_request(sender, publish, receive):
    receiver = receive(204)
    publish()
    sender(ops=receiver.url).look()
    [request] = receiver.requests
    sent = json.dumps(request.headers) + request.body.decode()
    assert SECRET not in sent
    assert SECRET.removeprefix("whsec_") not in sent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_sends_nothing_of_its_parents_and_does_not_deafen_it(store, publish, receive):
    """Forked in the middle of a request, whose event loop the child must not close."""
    receiver = receive("hang")
    sending = sender_for(store, ops=receiver.url)
    publish()
    sending.wake()
    receiver.wait_for(1)
    child = os.fork()
    if child == 0:
        gc.collect()
        quiet = sending._worker.idle and sending._worker._thread is None
        os._exit(0 if quiet else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    began = time.monotonic()
    sending.close(0)  # interrupts the request by way of its loop
    assert time.monotonic() - began < 10, "it would hang for 20 s"
    assert not [one for one in threading.enumerate() if one.name == "costscope-webhooks"]
