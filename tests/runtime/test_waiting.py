"""Whom a settlement wakes."""

from __future__ import annotations

from costscope.engine.state.services import WaitList
from costscope.ledger import Account
from costscope.stores.effects import Wake

A, B, C = (Account(key, (("cost", 1),)) for key in "abc")


class Noted(Wake):
    """Remembers that it was woken."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0

    def __call__(self) -> None:
        self.woken += 1


def test_only_those_who_wait_for_an_account_that_was_settled_are_woken():
    waiting, first, second, third = WaitList(), Noted(), Noted(), Noted()
    waiting.add(first, (A,))
    waiting.add(second, (B, C))
    waiting.add(third, (A, C))
    waiting.wake((C,))
    assert [first.woken, second.woken, third.woken] == [0, 1, 1]


def test_the_longest_waiting_four_are_woken_whoever_waits_for_something_else():
    waiting = WaitList()
    others, mine = [Noted() for _ in range(10)], [Noted() for _ in range(6)]
    for wake in others:
        waiting.add(wake, (A,))
    for wake in mine:
        waiting.add(wake, (B,))
    waiting.wake((B,))
    assert [wake.woken for wake in mine] == [1, 1, 1, 1, 0, 0]
    assert not any(wake.woken for wake in others)


def test_who_asks_again_keeps_the_place_and_who_gives_up_loses_it():
    waiting, wakes = WaitList(), [Noted() for _ in range(6)]
    for wake in wakes:
        waiting.add(wake, (A,))
    waiting.add(wakes[0], (A, B))
    waiting.discard(wakes[1])
    waiting.wake((A,))
    assert [wake.woken for wake in wakes] == [1, 0, 1, 1, 1, 0]
    for wake in wakes:
        waiting.discard(wake)
    assert not waiting
