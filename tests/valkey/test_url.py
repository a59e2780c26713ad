"""Store URLs: what they mean, and errors that name the wrong part and no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from costscope.errors import StoreMisconfigured
from costscope_valkey.url import Timeouts, parse_url


def test_a_full_url():
    address = parse_url("valkey://me:s%2Fecret@db.example:7000/3?ledger=prod.eu-1&operation_timeout_ms=50")
    assert (address.host, address.port, address.db) == ("db.example", 7000, 3)
    assert (address.username, address.password, address.ledger) == ("me", "s/ecret", "prod.eu-1")
    assert address.timeouts == Timeouts(connect_s=0.1, operation_s=0.05, total_s=0.5)
    assert not address.encrypted
    assert not address.local


def test_the_defaults():
    address = parse_url("valkey://localhost")
    assert (address.port, address.db, address.ledger, address.password) == (6379, 0, "default", None)
    assert address.timeouts == Timeouts(0.1, 0.25, 0.5)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_loopback_is_local(host):
    assert parse_url(f"valkey://{host}:1").local


def test_the_password_is_in_no_text():
    address = parse_url("valkeys://me:hunter2@h/0")
    assert "hunter2" not in repr(address) + str(address)
    assert "me" not in str(address).replace("valkeys", "")
    assert str(address) == "valkeys://h:6379/0"


def test_ipv6_is_shown_as_it_is_written():
    assert str(parse_url("valkey://[::1]:7/2")) == "valkey://[::1]:7/2"


def test_tls_files(tmp_path):
    for name in ("ca", "c", "k"):
        (tmp_path / name).touch()
    address = parse_url(f"valkeys://h?ca_certs={tmp_path}/ca&cert={tmp_path}/c&key={tmp_path}/k")
    assert (address.ca_certs, address.cert, address.key) == tuple(
        f"{tmp_path}/{name}" for name in ("ca", "c", "k")
    )
    assert address.encrypted


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("embedded:///var/books", Path("/var/books")),
        ("embedded://books", Path.cwd() / "books"),
        ("embedded://./a/b?idle_s=2", Path.cwd() / "a/b"),
        ("embedded:///var/B%C3%BCcher%20%231", Path("/var/Bücher #1")),
        ("embedded:///var/Books#1[x]@y", Path("/var/Books#1[x]@y")),
        ("embedded://~/books", Path.home() / "books"),
    ],
)
def test_embedded_folders(url, path):
    address = parse_url(url)
    assert address.directory == path.resolve()
    assert str(address) == f"embedded://{path.resolve()}"
    assert address.local


def test_an_embedded_address_keeps_its_options_at_its_socket():
    address = parse_url("embedded:///b?ledger=x&idle_s=2.5&total_timeout_ms=900").at_socket("/b/s")
    assert (address.path, address.ledger, address.idle_s, address.timeouts.total_s) == ("/b/s", "x", 2.5, 0.9)


def test_a_unix_socket():
    address = parse_url("unix:///run/my%20valkey.sock?db=4")
    assert (address.path, address.db) == ("/run/my valkey.sock", 4)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "scheme"),
        ("valkey:/h", "scheme"),
        ("redis://h", "scheme"),
        ("http://h", "scheme"),
        ("valkey://", "host"),
        ("valkey:///0", "host"),
        ("valkey://:6379/0", "host"),
        ("valkey://h:99999", "port"),
        ("valkey://h:0", "port"),
        ("valkey://h:abc", "port"),
        ("valkey://[::1", "IPv6"),
        ("valkey://h/zero", "database 'zero'"),
        ("valkey://h/-1", "database"),
        ("valkey://h/0/1", "database"),
        ("valkey://h/٣", "database"),
        ("valkey://h/0#x", "#"),
        ("valkey://me@h", "password"),
        ("valkey://h?ledger=", "ledger"),
        ("valkey://h?ledger=a b", "ledger"),
        ("valkey://h?ledger={a}", "ledger"),
        ("valkey://h?ledger=a%0Ab", "ledger"),
        ("valkey://h?ledger=" + "x" * 65, "ledger"),
        ("valkey://h?ledger=a&ledger=b", "ledger is given twice"),
        ("valkey://h?colour=red", "option"),
        ("valkey://h?ca_certs=/ca.pem", "option"),
        ("valkeys://h?ca_certs=/no/such.pem", "ca_certs"),
        ("valkeys://h?cert=/c.pem", "cert and key"),
        ("valkey://h?total_timeout_ms=0", "total_timeout_ms"),
        ("valkey://h?total_timeout_ms=-5", "total_timeout_ms"),
        ("valkey://h?total_timeout_ms=nan", "total_timeout_ms"),
        ("valkey://h?total_timeout_ms=1e400", "total_timeout_ms"),
        ("valkey://h?connect_timeout_ms=1_0", "connect_timeout_ms"),
        ("valkey://h?operation_timeout_ms=60001", "operation_timeout_ms"),
        ("embedded://", "path"),
        ("embedded://?ledger=x", "path"),
        ("embedded:///b%00c", "NUL"),
        ("unix://relative/path", "path"),
        ("unix://", "path"),
    ],
)
def test_an_error_names_the_part_that_is_wrong(url, part):
    with pytest.raises(StoreMisconfigured, match="store URL") as caught:
        parse_url(url)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "valkey://me:hunter2@h/zero",
        "valkey://me:hunter2@h:port",
        "valkey://me:hunter2/x@h/0",
        "valkey://me:hunter2#x@h/0",
        "valkey://me:hunter2?x@h/0",
        "valkey://me:x?hunter2=y@h/0",
        "valkey://me:hunter2@x@h/zero",
        "valkey://me:[hunter2@h/0",
        "hunter2@h/0",
        "me:hunter2@h://",
    ],
)
def test_an_error_never_shows_a_password(url):
    with pytest.raises(StoreMisconfigured) as caught:
        parse_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
