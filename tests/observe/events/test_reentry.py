"""Callbacks that make metered calls cause events themselves: they come to an end, and nobody else misses them."""

from __future__ import annotations

import asyncio

import pytest
from happenings import happening

from costscope.events import Callbacks, CallSettled, RunStarted


def test_a_callback_does_not_hear_of_what_it_causes_itself(stream):
    heard, others = [], []

    def spends(event):
        heard.append(event.name)
        stream.emit(happening(CallSettled, name="by the callback"), local)

    def sees(event):
        others.append(event.name)

    local = Callbacks(on_settled=(spends, sees))
    for _ in range(2):
        stream.emit(happening(CallSettled), local)
    assert heard == ["gpt-4o", "gpt-4o"]
    assert others == ["by the callback", "gpt-4o"] * 2


@pytest.mark.parametrize("running", ["a loop", "no loop"])
def test_nor_does_an_async_one(stream, running):
    heard, others = [], []

    async def spends(event):
        heard.append(event.name)
        await asyncio.sleep(0)
        stream.emit(happening(CallSettled, name="by the callback"))

    async def sees(event):
        others.append(event.name)

    stream.on("settled", spends)
    stream.on("settled", sees)

    async def main():
        stream.emit(happening(CallSettled))
        assert await stream.adrain(30)

    if running == "a loop":
        asyncio.run(main())
    else:
        stream.emit(happening(CallSettled))
        assert stream.drain(30)
    assert heard == ["gpt-4o"]
    assert sorted(others) == ["by the callback", "gpt-4o"]


def test_given_to_a_scope_and_globally_it_is_still_the_same_callback(stream):
    class Spender:
        def __init__(self):
            self.heard = 0

        def settled(self, event):
            self.heard += 1
            stream.emit(happening(CallSettled))

    spender = Spender()
    stream.on("settled", spender.settled)
    stream.emit(happening(CallSettled), Callbacks(on_settled=spender.settled))
    assert spender.heard == 2


def test_one_that_failed_hears_of_the_next_event(stream):
    heard = []

    def fails(event):
        heard.append(event)
        raise ValueError

    stream.on("settled", fails)
    for _ in range(3):
        stream.emit(happening(CallSettled))
    assert len(heard) == 3


def test_many_that_spend_do_not_multiply_for_ever(stream):
    """Ten would cause 10! calls."""
    heard = []

    def spender():
        def spends(event):
            heard.append(event.id)
            stream.emit(happening(CallSettled))

        return spends

    for _ in range(10):
        stream.on("settled", spender())
    stream.emit(happening(CallSettled))
    assert len(heard) == 10 + 10 * 9 + 10 * 9 * 8 + 10 * 9 * 8 * 7


def test_what_is_no_longer_called_back_is_still_seen_by_the_sinks(stream):
    seen = []
    stream.add_sink(lambda event: seen.append(event.id))

    def starts(event):
        stream.emit(happening(RunStarted))

    stream.on("run_started", starts)
    stream.emit(happening(RunStarted))
    assert len(seen) == 2
