"""The wire format: what is sent once, what is sent apart, and how a flat list of integers becomes replies."""

from __future__ import annotations

import json

import pytest

from costscope.ledger import (
    MAX_AMOUNT,
    METERS,
    Account,
    Commit,
    Denial,
    Expire,
    Extend,
    Outcome,
    Read,
    Release,
    Reply,
    Reserve,
)
from costscope_valkey.codec import Codec, decode
from costscope_valkey.keys import LedgerKeys

RUN = Account("run/r-1", (("cost", 100), ("tokens", 10)), 5, 9, 7, about='{"budget":"run"}')
TEAM = Account("team/a", (("tool_calls", 3),))
BOTH = (RUN, TEAM)
PREFIX = "costscope:1:{books}"


@pytest.fixture
def codec() -> Codec:
    return Codec(LedgerKeys("books"))


LENGTHS = {1: 7, 2: 5, 3: 4, 4: 3, 5: 3, 6: 1, 7: 10}


def head(request) -> dict:
    """The flat list, read with a cursor as the head of the script says."""
    flat = iter(json.loads(request.args[0]))

    def take(count: int) -> list:
        return [next(flat) for _ in range(count)]

    accounts, sets, holds, commands, unique = take(5)
    read = {"unique": unique, "a": [], "s": [], "h": [], "c": []}
    for _ in range(accounts):
        start, end, keep, letters, count = take(5)
        names, pairs = take(count), take(2 * count)
        assert [list(METERS)[meter - 1] for meter in pairs[::2]] == names
        read["a"].append([start, end, keep, letters, names, pairs[1::2]])
    for _ in range(sets):
        count = next(flat)
        read["s"].append("all" if count == -1 else take(count))
    read["h"] = take(holds)
    for _ in range(commands):
        verb = next(flat)
        read["c"].append([verb, *take(LENGTHS[verb] - 1)])
    assert list(flat) == [], "nothing is left over"
    return read


def test_every_key_is_declared_and_carries_the_hash_tag_of_the_ledger(codec):
    (request,) = codec.encode([Reserve("id1", BOTH, {"cost": 1}, 10), Extend("id2", 10)])
    assert request.keys == [
        *[f"{PREFIX}:{name}" for name in ("leases", "index", "ages")],
        f"{PREFIX}:a:run/r-1",
        f"{PREFIX}:a:team/a",
        f"{PREFIX}:h:id1",
        f"{PREFIX}:h:id2",
    ]


@pytest.mark.parametrize("name", ["a}b{c", "a:b", "ä", "x y"])
def test_no_name_of_a_ledger_breaks_out_of_its_tag(name):
    keys = LedgerKeys(name)
    tag = keys.leases[keys.leases.index("{") + 1 : keys.leases.index("}")]
    assert ":" not in tag
    assert keys.leases.count("{") == keys.leases.count("}") == 1
    assert keys.leases.endswith("}:leases")
    assert len({LedgerKeys(one).leases for one in ("a:b", "a", "a%3Ab", "a}", name)}) >= 4


def test_accounts_and_holds_named_often_are_sent_once(codec):
    commands = [
        Reserve("id1", BOTH, {"cost": 1}, 10),
        Commit("id1", BOTH, {"cost": 1}, 20),
        Release("id1", (TEAM,)),
        Read((TEAM,)),
        Read(BOTH),
    ]
    (request,) = codec.encode(commands)
    sent = head(request)
    assert len(request.keys) == 3 + 2 + 1
    assert sent["h"] == ["id1"]
    assert sent["a"] == [[5, 9, 7, "ab", ["cost", "tokens"], [100, 10]], [0, 0, 0, "f", ["tool_calls"], [3]]]
    assert sent["s"] == ["all", [2]]
    assert request.args[1:] == ['{"budget":"run"}', "{}"]
    assert [row[2] for row in sent["c"][:2]] == [1, 1]  # one set of accounts for both


def test_each_verb_as_the_script_reads_it(codec):
    (request,) = codec.encode(
        [
            Reserve("id1", BOTH, {"cost": 5, "tool_calls": 1}, 10, "release", {"cost": 2}, 1, 4),
            Commit("id1", BOTH, {"cost": 5}, 20),
            Release("id1", BOTH, 30),
            Extend("id1", 40),
            Expire("id1", BOTH),
            Read(BOTH),
        ]
    )
    rows = head(request)["c"]
    assert rows[0][:6] == [7, 1, 1, "a5f1", 10, 1]
    assert rows[0][7:] == [1, 4, "a2"]
    assert rows[1:] == [[2, 1, 1, "a5", 20], [3, 1, 1, 30], [4, 1, 40], [5, 1, 1], [6]]
    assert head(request)["unique"] == 0, "the script must expect a hold twice"


def test_the_fingerprint_covers_the_payload_and_not_the_lease(codec):
    def fingerprint(*args, accounts=BOTH):
        (request,) = codec.encode([Reserve("id1", accounts, *args)])
        return head(request)["c"][0][6]

    one = fingerprint({"cost": 5}, 10)
    assert one == fingerprint({"cost": 5}, 99) == fingerprint({"cost": 5}, 10, accounts=(*BOTH,))
    others = [
        fingerprint({"cost": 6}, 10),
        fingerprint({"cost": 5, "tokens": 0}, 10),
        fingerprint({"tokens": 5}, 10),
        fingerprint({"cost": 5}, 10, "release"),
        fingerprint({"cost": 5}, 10, accounts=(RUN,)),
        fingerprint({"cost": 5}, 10, accounts=(TEAM, RUN)),
        fingerprint({"cost": 5}, 10, "charge", {"cost": 1}, 0, 2),
        fingerprint({"cost": 5}, 10, "charge", {"cost": 1}, 0, 3),
        fingerprint({"cost": 5}, 10, "charge", {"cost": 1}, 1, 3),
    ]
    assert len({one, *others}) == 10


def test_two_descriptions_of_one_account_go_one_after_the_other(codec):
    narrow = Account(RUN.key, (("cost", 1),))
    commands = [Read((RUN,)), Read((narrow,)), Read((narrow,)), Read((RUN, TEAM))]
    requests = codec.encode(commands)
    assert [command for request in requests for command in request.commands] == commands
    for request in requests:
        assert len({account.limits for account in request.accounts if account.key == RUN.key}) == 1


def test_a_look_goes_along_with_whoever_describes_the_same_meters_with_other_limits(codec):
    """A look judges nothing. Whoever asks for a hold is judged by the own limits all the same."""
    wide, other = (
        Account(RUN.key, (("cost", 500), ("tokens", 50)), 5, 9, 7),
        Account(RUN.key, (("tokens", 9),), 5, 9, 7),
    )
    (request,) = codec.encode([Reserve("id1", (RUN,), {"cost": 1}, 10), Read((TEAM, wide))])
    sent = head(request)
    assert [account[5] for account in sent["a"]] == [[100, 10], [3]]
    assert (sent["s"], request.sets) == ([[1]], [[0], [1, 0]])
    for behind in (Reserve("id2", (wide,), {"cost": 1}, 10), Read((other,))):
        first, second = codec.encode([Reserve("id1", (RUN,), {"cost": 1}, 10), behind])
        assert [head(found)["a"][0][4] for found in (first, second)] == [
            [meter for meter, _ in described.limits] for described in (RUN, behind.accounts[0])
        ]
    first, second = codec.encode(
        [Reserve("id1", (RUN,), {"cost": 1}, 10), Read((wide,)), Commit("id2", (wide,), {})]
    )
    assert head(first)["a"][0][5] == [100, 10]
    assert head(second)["a"][0][5] == [500, 50]


def test_the_largest_amount_survives(codec):
    (request,) = codec.encode([Reserve("id1", (RUN,), {"cost": MAX_AMOUNT}, 10)])
    assert str(MAX_AMOUNT).encode() in request.args[0]


def test_replies_are_read_in_order_and_balances_last(codec):
    (request,) = codec.encode(
        [
            Reserve("id1", BOTH, {"cost": 1}, 10, "charge", {"cost": 1}, 0, 9),
            Reserve("id2", BOTH, {"tokens": 99}, 10),
            Reserve("id3", BOTH, {"cost": 1}, 10),
            Extend("id1", 10),
            Commit("id1", (TEAM,), {}),
            Read((TEAM, RUN)),
        ]
    )
    raw = [1234, 2, 1, 7, 2, 0, 1, 3, 10, 4, 5, 99, 3, 11, 5, 15, 21, 22, 23, 24, 25, 26]
    replies, due = decode(request, raw)
    run, team = (21, 22, 23, 24), (25, 26)
    assert due == 2
    assert replies == [
        Reply(Outcome.GRANTED, (run, team), 7),
        Reply(Outcome.DENIED, (run, team), 0, Denial("never_fits", 0, "tokens", 10, 4, 5, 99)),
        Reply(Outcome.WRONG_WINDOW, (run, team), now_ms=1234),
        Reply(Outcome.EXTENDED, (), now_ms=1234),
        Reply(Outcome.MISMATCH, (team,)),
        Reply(Outcome.READ, (team, run)),
    ]


def test_prepared_accounts_are_those_of_the_tuple_that_is_meant(codec):
    """Tuples are remembered by identity, and identities are used again."""
    for n in range(10_000):
        accounts = (Account(f"a/{n}", (("cost", n),)),)
        (request,) = codec.encode([Read(accounts)])
        assert request.keys[3] == f"{PREFIX}:a:a/{n}"
        assert head(request)["a"][0][5] == [n]
