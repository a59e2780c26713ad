"""The stream of events, and the deliveries of what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from costscope.errors import InvalidInput
from costscope.stores.coordination.operations import (
    EVENTS_MIN,
    READ_MAX,
    AckDeliveries,
    LeaseDeliveries,
    Publish,
    ReadEvents,
    SetOnce,
)
from costscope.testing.conformance.callers import KEEP_MS, LEASE_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.coordination.operations import Op
    from costscope.testing.conformance.callers import BatchSender


class BoardStream:
    """What a store promises about them."""

    def test_records_come_back_in_order(self, tell: BatchSender) -> None:
        """All, the last ones, or those behind a place."""
        records = ['{"n":1}', '{"text":"ü \\u0000 \U0001f600"}', "{}"]
        assert tell(*[Publish(f"id-{at}", record) for at, record in enumerate(records)]) == [True] * 3
        (everything,) = tell(ReadEvents())
        assert [one.record for one in everything] == records
        places = [one.place for one in everything]
        assert len(set(places)) == len(places)
        assert tell(ReadEvents(2), ReadEvents(0), ReadEvents(5, places[0]), ReadEvents(1, places[0])) == [
            everything[1:],
            [],
            everything[1:],
            everything[2:],
        ]
        assert tell(ReadEvents(5, places[-1])) == [[]]

    def test_a_place_that_is_none_is_refused(self, tell: BatchSender) -> None:
        """It did not come from the stream."""
        for place in ("x", "1", "1-", "-1-0", "99999999999999999999-0"):
            with pytest.raises(InvalidInput, match="no place in the stream"):
                tell(ReadEvents(1, place))

    def test_an_id_is_published_once(self, tell: BatchSender) -> None:
        """Among the last 1,000; the stream keeps at least as many records."""
        assert tell(Publish("twice", "{}"), Publish("twice", '{"again":1}')) == [True, False]
        assert tell(*[Publish(f"id-{at}", f'{{"n":{at}}}') for at in range(999)]) == [True] * 999
        assert tell(Publish("twice", '{"again":2}')) == [False]
        (kept,) = tell(ReadEvents(2000))
        assert [one.record for one in kept[-1000:]] == ["{}", *[f'{{"n":{at}}}' for at in range(999)]]
        assert tell(Publish("one more", "{}"), Publish("twice", '{"again":3}')) == [True, True]

    def test_the_stream_does_not_grow_for_ever(self, tell: BatchSender) -> None:
        """The last 1,000 records are kept, and not more than 2,000."""
        for start in range(0, 3000, 250):
            tell(*[Publish(f"id-{at}", f"{at}") for at in range(start, start + 250)])
        (kept,) = tell(ReadEvents(2000))
        assert EVENTS_MIN <= len(kept) <= READ_MAX
        assert [one.record for one in kept] == [f"{at}" for at in range(3000 - len(kept), 3000)]
        (behind,) = tell(ReadEvents(2000, "0-1"))
        assert behind == kept

    def test_of_all_who_name_one_thing_one_publishes(self, tell: BatchSender) -> None:
        """A threshold is crossed by many and told once."""
        batches: list[list[Op]] = [[Publish(f"by-{at}", f"{at}", "acct#80", KEEP_MS)] for at in range(16)]
        answers = [published for (published,) in tell.together(batches)]
        assert sorted(answers) == [False] * 15 + [True]
        (told,) = tell(ReadEvents())
        assert [one.record for one in told] == [str(answers.index(True))]

    def test_once_ends_with_its_time(self, tell: BatchSender, advance: Callable[[int], None]) -> None:
        """And `SetOnce` under the same key is another thing."""
        tell(SetOnce("acct#80", "1", KEEP_MS))
        assert tell(Publish("1", "{}", "acct#80", 30)) == [True]
        advance(60)
        assert tell(Publish("2", "{}", "acct#80", KEEP_MS), Publish("3", "{}", "acct#80", KEEP_MS)) == [
            True,
            False,
        ]
        assert tell(SetOnce("acct#80", "2", KEEP_MS)) == ["1"]

    def test_a_delivery_is_leased_to_one_until_it_is_acknowledged(self, tell: BatchSender) -> None:
        """One for each webhook a record names."""
        tell(Publish("e1", '{"ü":1}', deliver=("ops", "a:b ü")), Publish("e2", "{}"))
        taken, again = tell(LeaseDeliveries(LEASE_MS), LeaseDeliveries(LEASE_MS))
        assert [(one.id, one.webhook, one.record, one.attempt) for one in taken] == [
            ("e1:a:b ü", "a:b ü", '{"ü":1}', 1),
            ("e1:ops", "ops", '{"ü":1}', 1),
        ]
        assert again == []
        assert tell(AckDeliveries(("e1:ops", "e1:ops", "unknown")), AckDeliveries(())) == [1, 0]

    def test_a_delivery_comes_again_after_its_lease(
        self, tell: BatchSender, advance: Callable[[int], None]
    ) -> None:
        """Unless it is acknowledged; the attempts are counted for all who try."""
        tell(
            Publish("e1", "one", deliver=("ops",)),
            Publish("e2", "two", deliver=("ops",)),
            LeaseDeliveries(30),
        )
        advance(60)
        (second,) = tell(LeaseDeliveries(30))
        assert [(one.id, one.attempt) for one in second] == [("e1:ops", 2), ("e2:ops", 2)]
        assert tell(AckDeliveries(("e1:ops",))) == [1]
        advance(60)
        (third,) = tell(LeaseDeliveries(30))
        assert [(one.id, one.record, one.attempt) for one in third] == [("e2:ops", "two", 3)]

    def test_no_more_are_taken_than_asked_for(self, tell: BatchSender) -> None:
        """The longest due first; what is not published is not delivered."""
        for at in range(5):
            tell(Publish(f"e{at}", "{}", deliver=("ops",)), Publish(f"e{at}", "{}", deliver=("twice",)))
        taken = [
            one.id
            for answer in tell(LeaseDeliveries(LEASE_MS, 3), LeaseDeliveries(LEASE_MS, 3))
            for one in answer
        ]
        assert taken == [f"e{at}:ops" for at in range(5)]
        assert tell(LeaseDeliveries(LEASE_MS, 0)) == [[]]

    def test_many_who_take_share(self, tell: BatchSender) -> None:
        """No delivery goes to two of them."""
        tell(*[Publish(f"e{at}", "{}", deliver=("ops",)) for at in range(60)])
        batches: list[list[Op]] = [[LeaseDeliveries(LEASE_MS, 5)] for _ in range(16)]
        taken = [one.id for (answer,) in tell.together(batches) for one in answer]
        assert sorted(taken) == sorted(f"e{at}:ops" for at in range(60))
