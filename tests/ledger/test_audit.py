"""The audit finds each equation that was broken on purpose, and nothing in books that are sound."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from costscope.ledger import (
    MAX_AMOUNT,
    Account,
    Commit,
    Counters,
    Reserve,
    Snapshot,
    SnapshotAccount,
    SnapshotHold,
    audit,
)

SOUND = Counters(
    spent=47, held=5, reserved=100, settled=60, released=20, presumed=15, overrun=4, refund=42, orphan=10
)


@dataclass
class Books:
    counters: Counters = SOUND
    lines: tuple[tuple[str, str, int], ...] = (("acme", "cost", 3), ("acme", "cost", 2))

    def differences(self) -> list[str]:
        accounts = (SnapshotAccount("acme", "{}", 0, {"cost": self.counters}),)
        holds = tuple(SnapshotHold(f"h{n}", 9, (line,)) for n, line in enumerate(self.lines))
        report = audit(Snapshot(1, accounts, holds))
        assert report.exact == (not report.differences)
        return [str(difference) for difference in report.differences]


def test_sound_books_are_exact():
    assert Books().differences() == []


@pytest.mark.parametrize(
    ("field", "equations"),
    [
        ("spent", ["spent ="]),
        ("held", ["reserved =", "held ="]),
        ("reserved", ["reserved ="]),
        ("settled", ["reserved =", "spent ="]),
        ("released", ["reserved ="]),
        ("presumed", ["reserved =", "spent ="]),
        ("overrun", ["spent ="]),
        ("refund", ["spent ="]),
        ("orphan", ["spent ="]),
    ],
)
@pytest.mark.parametrize("by", [1, -1])
def test_one_unit_too_many_or_too_few_is_found(field, equations, by):
    counters = msgspec.structs.replace(SOUND, **{field: getattr(SOUND, field) + by})
    found = Books(counters).differences()
    assert len(found) == len(equations)
    for text, equation in zip(found, equations, strict=True):
        assert text.startswith(f"acme cost: {equation}")


def test_the_numbers_are_told():
    (text,) = Books(msgspec.structs.replace(SOUND, reserved=101)).differences()
    assert text == "acme cost: reserved = held + settled + released + presumed: expected 100, found 101"


def test_a_hold_on_an_account_that_does_not_count_it_is_found():
    found = Books(lines=(*Books.lines, ("acme", "tokens", 7), ("other", "cost", 1))).differences()
    assert found == [
        "acme tokens: held = sum of live holds: expected 7, found 0",
        "other cost: held = sum of live holds: expected 1, found 0",
    ]


def test_a_counter_out_of_range_is_found():
    wild = msgspec.structs.replace(SOUND, spent=MAX_AMOUNT + 48, orphan=MAX_AMOUNT + 11)  # equal modulo 2^53
    found = [text for text in Books(wild).differences() if "2^53-1" in text]
    assert [text.split(":")[1] for text in found] == [" 0 <= spent <= 2^53-1", " 0 <= orphan <= 2^53-1"]
    assert any("0 <= held" in text for text in Books(msgspec.structs.replace(SOUND, held=-1)).differences())


def test_sums_that_grew_past_2_53_balance_modulo_2_53():
    counters = Counters(spent=0, held=0, reserved=7, settled=MAX_AMOUNT, released=8, refund=MAX_AMOUNT)
    assert Books(counters, lines=()).differences() == []


def test_a_real_ledger_that_is_tampered_with_is_found(story):
    account = Account("acme", (("cost", 100),))
    story.apply(Reserve("a", (account,), {"cost": 60}, 60_000))
    story.apply(Commit("a", (account,), {"cost": 50}))
    cell = story.ledger._books["acme"].cells["cost"]
    cell.spent -= 1
    assert [d.equation for d in story.audit().differences] == [
        "spent = settled + overrun - refund + presumed + orphan"
    ]
    cell.spent += 1
