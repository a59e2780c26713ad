"""One board, two hosts: whatever is told, Python and Lua give the same answers. And would we notice a mistake?"""

from __future__ import annotations

import os

import pytest
from board_twins import compare_boards
from fake_valkey import FakeLink
from ledger_twins import Disagreement

from costscope.board import Board
from costscope.errors import StoreError
from costscope_valkey.codec import source_of
from costscope_valkey.link import Link


@pytest.fixture
def link(valkey_url, patient):
    link = Link(patient(valkey_url))
    yield link
    link.close()


def test_both_hosts_give_the_same_answers(link):
    compare_boards(link, examples=200)


def test_fakeredis_is_a_fair_stand_in():
    compare_boards(FakeLink(), examples=15)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_both_hosts_agree_through_thousands_of_histories(link):
    compare_boards(link, examples=int(os.environ.get("COSTSCOPE_SOAK_EXAMPLES", "3000")))


# what the mistake is: the text of the script, and what it becomes
MUTANTS = {
    "a mark stands a moment longer": (
        "return until_ms and tonumber(until_ms) > now",
        "return until_ms and tonumber(until_ms) >= now",
    ),
    "First and once see each other": ("stands(marks, 'o' .. what)", "stands(marks, 'f' .. what)"),
    "a mark that is over takes the value of another along": (
        "if sub(over, 1, 1) == 'f' then",
        "if true then",
    ),
    "a time that is empty stays empty": ("if value == '' then", "if false then"),
    "a group forgets its neighbours": ("if sub(mark, 2, 1 + #beginning) == beginning then", "if true then"),
    "what is over is counted as forgotten": ("if tonumber(found[at + 1]) > now then", "if true then"),
    "forgotten publications stay": ("      call('ZREM', marks, mark)\n", ""),
    "notes are not forgotten": ("call('DEL', notes, pace)", "call('DEL', pace)"),
    "a line is not forgotten": ("call('DEL', notes, pace)", "call('DEL', notes)"),
    "old notes count": ("if until_ms <= now then", "if false then"),
    "old notes count a moment longer": ("if until_ms <= now then", "if until_ms < now then"),
    "a later note shortens the time": ("max(until_ms, now + keep_ms)", "now + keep_ms"),
    "a success is no success": (
        "failed == '1' and failures + 1 or 0",
        "failures + (failed == '1' and 1 or 0)",
    ),
    "a cancelled call is a success": ("if failed ~= '' then", "if true then"),
    "a flag is a call": ("  if counts then\n", "  if true then\n"),
    "a flag goes up twice": ("if flag ~= '' and not find(", "if flag ~= '' and true or find("),
    "a long pause counts in full": ("min(now - last, PAUSE)", "now - last"),
    "cost grows without end": ("min(total + cost, AMOUNT_MAX)", "total + cost"),
    "33 digests are kept": ("if count > DIGESTS then", "if count > DIGESTS + 1 then"),
    "neighbours that are equal count once": ("at + #wanted - 1, true)", "at + #wanted, true)"),
    "a digest is found inside another": (
        "local wanted = ' ' .. digest .. ' '",
        "local wanted = digest .. ' '",
    ),
    "patience is a millisecond too long": (
        "if goes - now > patience_ms then",
        "if goes - now > patience_ms + 1 then",
    ),
    "an empty line saves up": (
        "max(tonumber(call('GET', key) or 0), now)",
        "tonumber(call('GET', key) or now)",
    ),
    "an id may be used again": ("if call('ZSCORE', ids, id) then", "if false then"),
    "a refused publication is delivered": (
        "if marks and stands(marks, 'o' .. what) then\n    return 0",
        "if marks and stands(marks, 'o' .. what) then\n    deliver(id, record, webhooks)\n    return 0",
    ),
    "the newest record comes first": ("for at = #entries, 1, -1 do", "for at = 1, #entries do"),
    "a delivery is due again at once": ("call('ZADD', due, text(now + lease_ms), id)", ""),
    "attempts are not counted": ("call('HINCRBY', attempts, id, 1)", "1"),
    "nothing is given up": (
        "'-inf', text(now), 'LIMIT', 0, GIVEN_UP_AT_ONCE",
        "'-inf', '0', 'LIMIT', 0, GIVEN_UP_AT_ONCE",
    ),
    "given up a moment late": (
        "'-inf', text(now), 'LIMIT', 0, GIVEN_UP_AT_ONCE",
        "'-inf', text(now - 1), 'LIMIT', 0, GIVEN_UP_AT_ONCE",
    ),
    "an acknowledged delivery stays due": (
        "return call('ZREM', due, id)",
        "return call('ZSCORE', due, id) and 1 or 0",
    ),
}
QUICK = {"a mark stands a moment longer", "33 digests are kept", "given up a moment late"}


def _cases():
    for name in MUTANTS:
        marks = [] if name in QUICK else [pytest.mark.soak]
        yield pytest.param(name, marks=marks, id=name.replace(" ", "-"))


@pytest.mark.parametrize("name", list(_cases()))
def test_a_mistake_in_the_script_is_found(link, name):
    right, wrong = MUTANTS[name]
    with pytest.raises((Disagreement, StoreError, AttributeError)):
        compare_boards(link, source_of("board").replace(right, wrong), examples=20_000, hunt=True)


def test_every_mutant_still_fits_the_source():
    source = source_of("board")
    assert [name for name, (right, _) in MUTANTS.items() if source.count(right) != 1] == []


def test_a_mistake_in_the_reference_is_found(link):
    class Forgetful(Board):
        def _publish(self, op, now_ms):
            return super()._publish(op, now_ms) or bool(op.once)

    with pytest.raises(Disagreement):
        compare_boards(link, None, Forgetful, examples=20_000, hunt=True)
