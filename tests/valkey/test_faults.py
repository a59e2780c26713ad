"""Servers that are frozen, full, read-only, locked, elsewhere, or not a Valkey at all: both colours."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from stopwatch import Stopwatch
from until import until

from costscope.errors import CallDenied, StoreMisconfigured, StoreUnavailable
from costscope_valkey.alink import AsyncLink
from costscope_valkey.link import Script
from costscope_valkey.url import parse_url


def answered(call):
    """Repeat a call until it is answered: a busy machine may need longer than the time-outs of the URL."""

    def attempt():
        try:
            return [call()]
        except StoreUnavailable:
            return []

    return until(attempt)[0]


def unavailable(call, match: str, kinds=StoreUnavailable) -> None:
    """Repeat a call until it is refused with these words, and not because a busy machine was late."""

    def attempt() -> bool:
        with pytest.raises(kinds) as caught:
            call()
        text = str(caught.value)
        assert re.search(f"{match}|no answer in time", text), text
        return re.search(match, text) is not None

    until(attempt)


def test_a_frozen_server_is_unavailable_in_time_and_usable_after_the_thaw(
    open_link, valkey_server_factory, echo
):
    server = valkey_server_factory()
    link = open_link(server.url)
    answered(lambda: link.call(echo, ["k"], ["before"]))
    server.freeze()
    for _ in range(2):  # with a connection, and without one
        watch, started = Stopwatch(), time.monotonic()
        with pytest.raises(StoreUnavailable, match="no answer in time") as caught:
            link.call(echo, ["k"], ["lost"])
        assert time.monotonic() - started > 0.3
        assert watch.read() < 1.5
        assert isinstance(caught.value, CallDenied)
        assert str(server.path) in str(caught.value)
    server.thaw()
    assert answered(lambda: link.call(echo, ["k"], ["after"])) == b"after"


def test_nothing_listens_there(open_link, tmp_path):
    watch = Stopwatch()
    with pytest.raises(StoreUnavailable, match=r"no connection .*is the server running"):
        open_link(f"unix://{tmp_path}/no.sock").command("PING")
    assert watch.read() < 1.5


def test_a_tcp_port_nobody_listens_on(open_link, answering, echo):
    with pytest.raises(StoreUnavailable, match=r"valkey://127\.0\.0\.1:1/0 after"):
        open_link("valkey://127.0.0.1:1/0").call(echo, ["k"], ["x"])


def test_a_read_only_replica(open_link, valkey_server_factory):
    primary = valkey_server_factory(tcp=True)
    replica = valkey_server_factory(replicaof=f"127.0.0.1 {primary.port}")
    link = open_link(replica.url)
    script = Script("return redis.call('SET', KEYS[1], 'x')")
    unavailable(lambda: link.call(script, ["k"], []), "READONLY|MASTERDOWN|LOADING")
    replica.ask("REPLICAOF NO ONE")
    assert answered(lambda: link.call(script, ["k"], [])) == b"OK"


def test_a_full_server_says_so_at_once_and_how_to_mend_it(open_link, valkey_server_factory, patient):
    server = valkey_server_factory(maxmemory="1mb")
    link = open_link(patient(server.url))
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"OOM: .*raise maxmemory"):
        link.call(Script("return redis.call('SET', KEYS[1], ARGV[1])"), ["k"], ["x"])
    assert time.monotonic() - started < 10, "it repeats for 20 s what may heal by itself"
    server.ask("CONFIG SET maxmemory 100mb")
    assert link.call(Script("return redis.call('SET', KEYS[1], ARGV[1])"), ["k"], ["x"]) == b"OK"


def test_too_few_replicas(open_link, valkey_server_factory):
    server = valkey_server_factory(min_replicas_to_write="1")
    link = open_link(server.url)
    unavailable(lambda: link.command("SET", "k", "v"), "NOREPLICAS")


def test_a_server_busy_with_a_script_is_unavailable_until_that_ends(
    open_link, valkey_server_factory, patient
):
    server = valkey_server_factory(busy_reply_threshold="10")
    link = open_link(server.url)
    endless = open_link(server.url)
    with pytest.raises(StoreUnavailable):
        endless.call(Script("while true do end"), ["k"], [])
    unavailable(lambda: link.command("GET", "k"), "BUSY: .*SCRIPT KILL")
    server.ask("SCRIPT KILL")
    assert open_link(patient(server.url)).command("PING") == b"PONG"


@pytest.mark.parametrize("url", ["me:wrong@", ":wrong@", ""])
def test_a_wrong_or_missing_password(open_link, valkey_server_factory, patient, url):
    server = valkey_server_factory(tcp=True, requirepass="right-one")
    link = open_link(patient(f"valkey://{url}127.0.0.1:{server.port}/0"))
    started = time.monotonic()
    with pytest.raises(StoreMisconfigured, match=r"WRONGPASS|NOAUTH") as caught:
        link.command("GET", "k")
    assert time.monotonic() - started < 10, "repeating is no use, and would go on for 20 s"
    assert "wrong@" not in str(caught.value)


def test_the_right_password(open_link, valkey_server_factory):
    server = valkey_server_factory(tcp=True, requirepass="right one/@?")
    server.ask('AUTH "right one/@?"')
    link = open_link(f"valkey://:right%20one%2F%40%3F@127.0.0.1:{server.port}/2")
    assert answered(lambda: link.command("SET", "k", "v")) == b"OK"


def test_a_user_with_too_narrow_permissions(open_link, valkey_server_factory, patient):
    server = valkey_server_factory(tcp=True)
    server.ask("ACL SETUSER narrow on >pw ~* -@all +get")
    link = open_link(patient(f"valkey://narrow:pw@127.0.0.1:{server.port}/0"))
    assert link.command("GET", "k") is None
    with pytest.raises(StoreMisconfigured, match=r"NOPERM.*evalsha"):
        link.call(Script("return 1"), ["k"], [])


def test_a_cluster_node_that_does_not_own_the_keys(open_link, valkey_server_factory):
    server = valkey_server_factory(tcp=True, cluster_enabled="yes")
    link = open_link(server.tcp_url)
    unavailable(lambda: link.command("GET", "k"), "MOVED|CLUSTERDOWN", (StoreMisconfigured, StoreUnavailable))


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01\x00\x02", b"220 mail.example ESMTP\r\n"]
)
def test_something_that_is_not_a_valkey(open_link, answering, patient, answer):
    port = answering(answer)
    with pytest.raises(StoreMisconfigured, match="not a Valkey"):
        open_link(patient(f"valkey://127.0.0.1:{port}")).command("PING")


def test_a_silent_socket(open_link, answering):
    port = answering(b"")
    watch = Stopwatch()
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        open_link(f"valkey://127.0.0.1:{port}").command("PING")
    assert watch.read() < 1.5


def test_time_outs_of_the_url_are_kept(open_link, answering):
    port = answering(b"")
    watch = Stopwatch()
    with pytest.raises(StoreUnavailable):
        open_link(f"valkey://127.0.0.1:{port}?operation_timeout_ms=20&total_timeout_ms=60").command("PING")
    assert watch.read() < 0.4


def test_the_last_attempt_ends_with_the_total_time_out(open_link, valkey_server_factory, echo):
    server = valkey_server_factory()
    link = open_link(f"{server.url}?operation_timeout_ms=1000&total_timeout_ms=1200")
    answered(lambda: link.call(echo, ["k"], ["warm"]))
    server.freeze()
    watch, started = Stopwatch(), time.monotonic()
    with pytest.raises(StoreUnavailable):
        link.call(echo, ["k"], ["x"])
    assert time.monotonic() - started > 0.9
    assert watch.read() < 1.8, "a second full operation would make it 2 s"


def test_tls(open_link, valkey_server_factory, tls_front, patient, echo):
    port, authority = tls_front(valkey_server_factory())
    link = open_link(patient(f"valkeys://localhost:{port}/1?ca_certs={authority}"))
    assert link.call(echo, ["k"], ["encrypted"]) == b"encrypted"


def test_tls_is_verified(open_link, valkey_server_factory, tls_front, patient):
    port, _ = tls_front(valkey_server_factory())
    with pytest.raises(StoreMisconfigured, match=r"TLS failed.*ca_certs"):
        open_link(patient(f"valkeys://localhost:{port}/1")).command("PING")


def test_tls_checks_the_host_name(open_link, valkey_server_factory, tls_front, patient):
    port, authority = tls_front(valkey_server_factory())
    with pytest.raises(StoreMisconfigured, match="TLS failed"):
        open_link(patient(f"valkeys://127.0.0.1:{port}/1?ca_certs={authority}")).command("PING")


def test_tls_with_a_server_that_has_none(open_link, valkey_server_factory):
    server = valkey_server_factory(tcp=True)
    with pytest.raises((StoreMisconfigured, StoreUnavailable)):
        open_link(f"valkeys://127.0.0.1:{server.port}/1?connect_timeout_ms=2000").command("PING")


def test_a_reply_after_its_time_out_never_answers_another_request(open_link, valkey_server_factory, echo):
    server = valkey_server_factory()
    link = open_link(f"{server.url}?operation_timeout_ms=50&total_timeout_ms=60")
    answered(lambda: link.call(echo, ["k"], ["warm"]))
    for n in range(5):
        server.freeze()
        with pytest.raises(StoreUnavailable):
            link.call(echo, ["k"], [f"late {n}"])
        server.thaw()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert link.call(echo, ["k"], [f"own {n}"]) == f"own {n}".encode()
            except StoreUnavailable:
                assert time.monotonic() < deadline
            else:
                break


def test_all_who_wait_hear_of_a_frozen_server(valkey_server_factory, echo):
    server = valkey_server_factory()
    link = AsyncLink(parse_url(server.url))

    async def main() -> list[object]:
        await link.call(echo, ["k"], ["warm"])
        server.freeze()
        calls = [link.call(echo, ["k"], [n]) for n in range(50)]
        watch = Stopwatch()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert watch.read() < 1.5
        server.thaw()
        return results

    results = asyncio.run(main())
    assert {type(result) for result in results} == {StoreUnavailable}
    assert len({id(result) for result in results}) == len(results)
