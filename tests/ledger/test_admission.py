"""Which refusal is told, and with which numbers."""

from __future__ import annotations

import pytest

from costscope.ledger import Account, Commit, Denial, Reserve

A = Account("a", (("cost", 100), ("tokens", 1000)))
B = Account("b", (("tokens", 500), ("cost", 50)))


@pytest.fixture
def refuse(story):
    """Spends and holds something on A and B first; then asks for more."""

    def ask(amounts, *, spent=0, held=0):
        story.apply(Reserve("s", (A, B), {"cost": spent}, 60_000))
        story.apply(Commit("s", (A, B), {"cost": spent}))
        story.apply(Reserve("h", (A, B), {"cost": held}, 60_000))
        return story.apply(Reserve("x", (A, B), amounts, 60_000)).denial

    return ask


def test_room_that_others_hold_may_free_up(refuse):
    assert refuse({"cost": 30}, spent=10, held=30) == Denial("in_flight", 1, "cost", 50, 10, 30, 30)


def test_what_is_spent_does_not_come_back(refuse):
    assert refuse({"cost": 30}, spent=30, held=10) == Denial("exhausted", 1, "cost", 50, 30, 10, 30)


def test_more_than_the_limit_never_fits(refuse):
    assert refuse({"cost": 51}) == Denial("never_fits", 1, "cost", 50, 0, 0, 51)


def test_of_equal_refusals_the_first_is_told(refuse):
    assert refuse({"cost": 101, "tokens": 2000}) == Denial("never_fits", 0, "cost", 100, 0, 0, 101)


def test_the_hardest_refusal_is_told_wherever_it_stands(refuse):
    assert refuse({"cost": 45, "tokens": 501}, held=10) == Denial("never_fits", 1, "tokens", 500, 0, 0, 501)


def test_exactly_the_limit_is_admitted(refuse):
    assert refuse({"cost": 20, "tokens": 500}, spent=10, held=20) is None


def test_a_denied_reply_shows_every_account(story):
    story.apply(Reserve("h", (A, B), {"cost": 20, "tokens": 7}, 60_000))
    reply = story.apply(Reserve("x", (A, B), {"cost": 40}, 60_000))
    assert reply.balances == ((0, 20, 0, 7), (0, 7, 0, 20))
