"""Which errors are worth repeating, and what each is called; the servers that cause them are in test_faults."""

from __future__ import annotations

import ssl

import pytest
import valkey.exceptions as client

from costscope.errors import StoreError, StoreMisconfigured, StoreUnavailable
from costscope_valkey.failures import is_transient, leaves_connection_usable, translate
from costscope_valkey.url import parse_url


def wrapped(cause: Exception) -> client.ConnectionError:
    error = client.ConnectionError("Error 1 connecting")
    error.__context__ = cause
    return error


CASES = [
    (client.TimeoutError("Timeout reading"), True, StoreUnavailable),
    (TimeoutError(), True, StoreUnavailable),
    (client.ConnectionError("Connection closed by server."), True, StoreUnavailable),
    (ConnectionRefusedError(111, "refused"), True, StoreUnavailable),
    (client.BusyLoadingError("Valkey is loading the dataset in memory"), True, StoreUnavailable),
    (client.ReadOnlyError("You can't write against a read only replica."), True, StoreUnavailable),
    (client.ResponseError("NOREPLICAS Not enough good replicas to write."), True, StoreUnavailable),
    (client.ResponseError("CLUSTERDOWN Hash slot not served"), True, StoreUnavailable),
    (client.ResponseError("MASTERDOWN Link with MASTER is down"), True, StoreUnavailable),
    (client.ResponseError("BUSY Valkey is busy running a script."), True, StoreUnavailable),
    (client.ResponseError("TRYAGAIN Multiple keys request during rehashing of slot"), True, StoreUnavailable),
    (client.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), False, StoreUnavailable),
    (client.ResponseError("MISCONF Errors writing to the AOF file"), False, StoreUnavailable),
    (client.AuthenticationError("invalid username-password pair"), False, StoreMisconfigured),
    (client.AuthenticationError("Authentication required."), False, StoreMisconfigured),
    (client.AuthenticationError("AUTH <password> called without any password"), False, StoreMisconfigured),
    (client.NoPermissionError("this user has no permissions to run 'evalsha'"), False, StoreMisconfigured),
    (client.ResponseError("MOVED 3999 127.0.0.1:6381"), False, StoreMisconfigured),
    (client.ResponseError("ERR unknown command 'EVALSHA'"), False, StoreMisconfigured),
    (client.InvalidResponse('Protocol error, got "H" as reply type byte'), False, StoreMisconfigured),
    (ssl.SSLCertVerificationError(1, "certificate verify failed"), False, StoreMisconfigured),
    (wrapped(ssl.SSLCertVerificationError(1, "certificate verify failed")), False, StoreMisconfigured),
    (ssl.SSLEOFError(8, "EOF occurred"), True, StoreUnavailable),
    (client.ResponseError("ERR Error running script"), False, StoreError),
    (client.ResponseError("BUSYKEY Target key name already exists."), False, StoreError),
]


@pytest.mark.parametrize(("error", "repeated", "raised"), CASES, ids=lambda value: str(value)[:40])
def test_each_error_is_repeated_or_not_and_named(error, repeated, raised):
    assert is_transient(error) is repeated
    translated = translate(error, parse_url("valkey://me:hunter2@db.example/0"), 0.25)
    assert type(translated) is raised
    assert str(translated).startswith("valkey://db.example:6379/0 after 250 ms: ")
    assert "hunter2" not in str(translated)


def test_what_the_server_says_is_cut_to_one_short_line():
    said = client.ResponseError("ERR a\r\nforged line\n" + "x" * 10_000)
    text = str(translate(said, parse_url("valkey://h"), 0))
    assert "\n" not in text
    assert "\r" not in text
    assert len(text) < 400


@pytest.mark.parametrize(
    ("error", "usable"),
    [
        (client.ResponseError("ERR no"), True),
        (client.NoScriptError("No matching script."), True),
        (client.ReadOnlyError("a replica now"), False),
        (client.ResponseError("MASTERDOWN Link with MASTER is down"), False),
        (client.TimeoutError("late"), False),
        (client.InvalidResponse("garbage"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_a_connection_is_kept_only_when_the_error_was_the_reply(error, usable):
    assert leaves_connection_usable(error) is usable
