"""The script on a real server: its contract with old processes, with clusters, and with a server that is full."""

from __future__ import annotations

import hashlib

import pytest

from costscope.errors import StoreUnavailable
from costscope.ledger import Account, Commit, Expire, Extend, Outcome, Read, Release, Reserve, new_id
from costscope_valkey.codec import Codec, decode, source_of
from costscope_valkey.keys import LAYOUT, LedgerKeys
from costscope_valkey.link import Link, Script
from costscope_valkey.url import parse_url

# Processes with an old and a new library share a ledger while a deployment is under way: each runs its own script
# on the same keys. Before you change a hash here, ask: does the old script read and write what the new one does,
# and do both give the same answers? If not, LAYOUT in keys.py must grow. Then write the new hash down.
PINNED = {
    "ledger": (1, "7d1e6794481cb4fbbe0977af7715ac82e8a75744"),
    "snapshot": (1, "d7bccfccaf72fa67f3101484eb57dc1b9ff67b53"),
}

RUN = Account("run/r-1", (("cost", 100), ("tokens", 1000)))
TEAM = Account("team/a", (("cost", 1000), ("tool_calls", 50)))
IDLE = Account("idle", (("cost", 1000),), keep_ms=20)
LEASE = 600_000
_LAST_WITH_IDLE = 2


@pytest.mark.parametrize("name", list(PINNED))
def test_an_edit_of_a_script_asks_whether_old_processes_still_agree(name):
    code = "\n".join(line for line in source_of(name).splitlines() if not line.lstrip().startswith("--"))
    assert (LAYOUT, hashlib.sha1(code.encode()).hexdigest()) == PINNED[name]


@pytest.fixture
def run(valkey_url, patient):
    """Applies commands through the script alone, as any process does."""
    link = Link(patient(valkey_url))
    codec = Codec(LedgerKeys(link.server.ledger))
    script = Script(source_of("ledger"))

    def apply(*commands):
        replies = []
        for request in codec.encode(commands):
            replies += decode(request, link.call(script, request.keys, request.args))[0]
        return replies

    yield apply
    link.close()


def test_a_batch_of_256_commands_on_16_accounts_each_is_one_script(run):
    """More keys than Lua could unpack at once, were they unpacked."""
    commands = []
    for n in range(256):
        accounts = tuple(Account(f"wide/{n}/{k}", (("cost", 10), ("tokens", 10))) for k in range(16))
        commands.append(Reserve(new_id(), accounts, {"cost": 1, "tokens": 2}, LEASE))
    assert {reply.outcome for reply in run(*commands)} == {Outcome.GRANTED}


def every_verb():
    """Batches that walk every branch which touches a key, and what has to be waited for."""
    a, b, c, d = (new_id() for _ in range(4))
    path = (RUN, TEAM, IDLE)
    return [
        [Reserve(a, path, {"cost": 5, "tokens": 1}, LEASE), Reserve(b, (RUN,), {"cost": 5}, 1)],
        [Extend(a, LEASE), Read(path), Expire(b, (RUN,)), Commit(b, (RUN,), {"cost": 9}, 1000)],
        [
            Commit(c, path, {"cost": 1}, 1000),
            Release(d, (TEAM,), 1000),
            Reserve(d, (TEAM,), {"cost": 1}, LEASE),
        ],
        # IDLE is forgotten by now: its number is looked up, and given anew
        [Release(a, path, 0), Commit(c, (RUN,), {"cost": 2}, 0), Reserve(new_id(), path, {"cost": 1}, LEASE)],
        [
            Reserve(new_id(), (TEAM,), {"cost": 10**6}, LEASE),
            Commit(new_id(), (TEAM,), {"cost": 2**53 - 1}, 0),
        ],
    ]


def test_no_key_is_touched_that_was_not_declared(valkey_server_factory, patient, eventually):
    """A cluster would run such a script by luck only. Here each batch has a user who may use its keys and no others."""
    server = valkey_server_factory(tcp=True)
    books = LedgerKeys("books")
    codec, script = Codec(books), Script(source_of("ledger"))
    for at, batch in enumerate(every_verb()):
        (request,) = codec.encode(batch)
        patterns = " ".join("~" + key for key in request.keys)
        assert server.ask(f"ACL SETUSER user{at} on >secret {patterns} +@all").startswith("+OK")
        link = Link(patient(f"valkey://user{at}:secret@127.0.0.1:{server.port}/0"))
        link.call(script, request.keys, request.args)
        link.close()
        if at == _LAST_WITH_IDLE:
            key = books.account_prefix + IDLE.key
            eventually(lambda key=key: server.ask(f"EXISTS {key}") == ":0\r\n")


@pytest.fixture
def small(valkey_server_factory, patient):
    """A server that can be filled: `small.full()`, `small.roomy()`, `small.apply(command)`, `small.books()`."""

    class Small:
        def __init__(self) -> None:
            self.server = valkey_server_factory()
            self.link = Link(parse_url(self.server.url))
            self.keys = LedgerKeys("books")
            self.codec = Codec(self.keys)

        def apply(self, *commands):
            (request,) = self.codec.encode(commands)
            raw = self.link.call(Script(source_of("ledger")), request.keys, request.args)
            return [reply.outcome.name for reply in decode(request, raw)[0]]

        def books(self):
            keys = (self.keys.leases, self.keys.index)
            found = self.link.call(Script(source_of("snapshot")), keys, (self.keys.hold_prefix, "1"))
            return found[1:]

        def full(self) -> None:
            self.server.ask("CONFIG SET maxmemory 1mb")

        def roomy(self) -> None:
            self.server.ask("CONFIG SET maxmemory 0")

    small = Small()
    yield small
    small.link.close()


def test_a_full_server_refuses_a_batch_whole(small):
    """A script that stops half-way is not rolled back: so its first write is one that a full server refuses."""
    live, lost, known = new_id(), new_id(), new_id()
    both = (RUN, TEAM)
    small.apply(Reserve(live, both, {"cost": 5}, LEASE), Reserve(lost, both, {"cost": 7}, 0))
    small.apply(Commit(known, both, {"cost": 1}, LEASE))
    before = small.books()
    small.full()
    fresh = (Account("fresh", (("cost", 9),)), RUN)
    batches = [
        [Reserve(new_id(), both, {"cost": 1}, LEASE)],
        [Reserve(new_id(), fresh, {"cost": 1}, LEASE)],
        [Commit(live, both, {"cost": 4}, LEASE)],
        [Commit(live, both, {"cost": 4}, 0)],
        [Release(live, both, LEASE)],
        [Release(live, both, 0)],
        [Extend(live, 2 * LEASE)],
        [Expire(lost, both)],
        [Commit(lost, both, {"cost": 4}, LEASE)],
        [Commit(new_id(), fresh, {"cost": 4}, 0)],
        [Release(new_id(), both, LEASE)],
        [
            Commit(live, both, {"cost": 4}, 0),
            Expire(lost, both),
            Reserve(new_id(), fresh, {"cost": 1}, LEASE),
        ],
    ]
    for batch in batches:
        with pytest.raises(StoreUnavailable, match="OOM"):
            small.apply(*batch)
        assert small.books() == before, batch
    small.roomy()
    assert small.apply(*batches[-1]) == ["COMMITTED", "PRESUMED", "GRANTED"]


def test_what_only_looks_is_answered_by_a_full_server_or_refused_whole(small):
    small.apply(Reserve(new_id(), (RUN,), {"cost": 60}, LEASE))
    small.full()
    before = small.books()
    try:
        assert small.apply(Read((RUN,)), Reserve(new_id(), (RUN,), {"cost": 60}, LEASE)) == ["READ", "DENIED"]
    except StoreUnavailable:
        pytest.fail("a refusal needs no memory")
    assert small.books() == before


def test_a_live_hold_takes_less_than_400_bytes(small):
    """On three accounts of two meters each."""
    path = tuple(Account(f"level/{n}/acme", (("cost", 10**12), ("tokens", 10**12))) for n in range(3))

    def used() -> int:
        info = small.link.command("INFO", "memory").decode()
        return int(info.split("used_memory:")[1].split()[0])

    def reserve(count: int) -> None:
        for _ in range(count // 100):
            amounts = {"cost": 1_234_567_890, "tokens": 12_345}
            small.apply(*[Reserve(new_id(), path, amounts, LEASE) for _ in range(100)])

    reserve(1000)
    before = used()
    reserve(4000)
    assert (used() - before) / 4000 < 400
