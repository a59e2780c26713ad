"""The start-up check: servers that cannot keep a ledger are refused, risky ones are warned of."""

from __future__ import annotations

import warnings

import pytest

from costscope.errors import LayoutMismatch, StoreMisconfigured, StoreWarning
from costscope_valkey.link import Link
from costscope_valkey.server_checks import check_server, judge, layout_key
from costscope_valkey.url import parse_url


@pytest.fixture
def check():
    """Checks the server behind a URL and returns the warnings."""

    def run(url: str, layout: str = "1") -> list[str]:
        link = Link(parse_url(url))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", StoreWarning)
            try:
                check_server(link, layout)
            finally:
                link.close()
        assert all(warning.category is StoreWarning for warning in caught)
        return [str(warning.message) for warning in caught]

    return run


def test_a_sound_server_passes_without_a_word(check, valkey_url):
    assert check(valkey_url) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_an_evicting_server_is_refused_with_the_remedy(check, valkey_server_factory, policy):
    server = valkey_server_factory(maxmemory_policy=policy)
    with pytest.raises(StoreMisconfigured, match=f"{policy}.*CONFIG SET maxmemory-policy noeviction"):
        check(server.url)
    server.ask("CONFIG SET maxmemory-policy noeviction")
    check(server.url)


def test_a_replica_is_refused_and_its_primary_named(check, valkey_server_factory):
    primary = valkey_server_factory(tcp=True)
    replica = valkey_server_factory(replicaof=f"127.0.0.1 {primary.port}")
    with pytest.raises(StoreMisconfigured, match=f"replica of 127.0.0.1:{primary.port}"):
        check(replica.url)


def test_books_that_a_restart_loses_are_warned_of(check, valkey_server_factory):
    (warning,) = check(valkey_server_factory().url)
    assert "appendonly is off" in warning


def test_a_user_without_info_is_warned_of(check, valkey_server_factory):
    server = valkey_server_factory(tcp=True)
    server.ask("ACL SETUSER app on >pw ~* -@all +set +get +select")
    (warning,) = check(f"valkey://app:pw@127.0.0.1:{server.port}/0")
    assert "may not call INFO" in warning


def test_other_refusals_are_not_taken_for_a_missing_permission(check, valkey_server_factory):
    server = valkey_server_factory(requirepass="x")
    with pytest.raises(StoreMisconfigured, match="NOAUTH"):
        check(server.url)


def test_a_ledger_of_another_layout_is_refused_and_both_are_named(check, valkey_url):
    check(valkey_url, "1")
    check(valkey_url, "1")
    with pytest.raises(LayoutMismatch, match="has layout 1, this costscope writes layout 2"):
        check(valkey_url, "2")
    check(valkey_url, "1")  # the refusal has not changed what is recorded


def test_ledgers_of_other_layouts_may_share_a_server(check, valkey_url):
    check(valkey_url, "1")
    check(valkey_url + "-other", "2")


def test_the_marker_is_tagged_like_the_ledger_it_speaks_of():
    assert layout_key("prod") == "costscope:layout:{prod}"


SOUND = b"redis_version:7.2.4\r\nvalkey_version:8.1.0\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        (b"", "version unknown"),
        (b"hello", "version unknown"),
        (SOUND.replace(b"valkey_version:8.1.0", b"").replace(b"7.2.4", b"6.2.14"), "version 6.2.14"),
        (SOUND.replace(b"8.1.0", "٨".encode()), "version"),
        (SOUND.replace(b"noeviction", b"allkeys-lfu"), "maxmemory-policy is allkeys-lfu"),
        (SOUND.replace(b"maxmemory_policy", b"other"), "maxmemory-policy is unknown"),
        (SOUND.replace(b"master", b"slave"), "replica"),
    ],
)
def test_what_is_refused(info, problem):
    with pytest.raises(StoreMisconfigured, match=problem):
        judge(info, parse_url("valkeys://db.example"))


def test_redis_7_is_accepted():
    assert judge(SOUND.replace(b"valkey_version:8.1.0", b""), parse_url("valkeys://db.example")) == []


def test_plain_text_over_a_network_is_warned_of():
    (warning,) = judge(SOUND, parse_url("valkey://db.example"))
    assert "valkeys://" in warning
    assert judge(SOUND, parse_url("valkey://127.0.0.1")) == []
