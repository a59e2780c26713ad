"""What processes agree on beside the books: the operations of `Store.tell` and `Store.atell`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

import pytest

from costscope.board import Ack, First, Forget, Note, Noted, Pace, Publish, Recent, Take
from costscope.board.limits import RECENT_MAX, RECORDS_MIN
from costscope.errors import InvalidInput
from costscope.ledger import MAX_AMOUNT
from costscope.testing.conformance.callers import KEEP_MS, LEASE_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from costscope.board import Op
    from costscope.stores import Store

__all__ = ["OnTheBoard"]

_HOUR_MS: Final = 3_600_000


def _counts(answers: list[Noted]) -> list[tuple[int, int]]:
    return [(noted.failures, noted.repeats) for noted in answers]


class Tell(Protocol):
    """Applies operations in the colour of the test."""

    def __call__(self, *ops: Op) -> list[Any]:
        """One answer for each, in order; of the kind the operation says."""

    def together(self, batches: list[list[Op]]) -> list[list[Any]]:
        """All of these at once; their answers, batch by batch."""


class _Threads:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, *ops: Op) -> list[Any]:
        return self._store.tell(ops)

    def together(self, batches: list[list[Op]]) -> list[list[Any]]:
        with ThreadPoolExecutor(len(batches)) as pool:
            return list(pool.map(self._store.tell, batches))

    def close(self) -> None:
        self._store.close()


class _Tasks:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._runner = asyncio.Runner()

    def __call__(self, *ops: Op) -> list[Any]:
        return self._runner.run(self._store.atell(ops))

    def together(self, batches: list[list[Op]]) -> list[list[Any]]:
        async def gather() -> list[list[Any]]:
            return await asyncio.gather(*map(self._store.atell, batches))

        return self._runner.run(gather())

    def close(self) -> None:
        self._runner.run(self._store.aclose())
        self._runner.close()


class OnTheBoard:
    """Marks, notes, lines, the stream of events and its deliveries."""

    @pytest.fixture(params=["sync", "async"])
    def tell(self, request: pytest.FixtureRequest, store: Store) -> Iterator[Tell]:
        """Asks the board in either colour."""
        callers = _Threads(store) if request.param == "sync" else _Tasks(store)
        yield callers
        callers.close()

    def test_nothing_to_tell_is_answered_with_nothing(self, tell: Tell) -> None:
        """An empty batch is a batch."""
        assert tell() == []

    def test_answers_come_in_the_order_of_the_operations(self, tell: Tell) -> None:
        """Also of more than fit into one request."""
        answers = tell(*[First(f"g#{at}", str(at), KEEP_MS) for at in range(600)])
        assert answers == [str(at) for at in range(600)]

    # ------------------------------------------------------------------ marks

    def test_the_first_value_stays(self, tell: Tell) -> None:
        """Every later one is told what is there."""
        assert tell(First("a#x", "one", KEEP_MS), First("a#x", "two", KEEP_MS)) == ["one", "one"]
        assert tell(First("a#x", "three", KEEP_MS), First("b#x", "four", KEEP_MS)) == ["one", "four"]

    def test_an_empty_value_is_the_time(self, tell: Tell, store: Store) -> None:
        """By the store's clock, in ms since the epoch, and the same for all who ask later."""
        before = store.snapshot().now_ms
        (at,) = tell(First("a#started", "", KEEP_MS))
        assert before <= int(at) <= store.snapshot().now_ms
        assert tell(First("a#started", "", KEEP_MS)) == [at]

    def test_a_mark_is_forgotten_after_its_time(self, tell: Tell, advance: Callable[[int], None]) -> None:
        """And its neighbour in the group is not."""
        tell(First("a#short", "old", 30), First("a#long", "old", KEEP_MS))
        advance(60)
        answers = tell(First("a#short", "new", KEEP_MS), First("a#long", "new", KEEP_MS))
        assert answers == ["new", "old"]

    def test_forgetting_a_group_lets_everything_in_it_happen_again(self, tell: Tell) -> None:
        """Marks, publications, notes and the line under that name, and nothing of other groups."""
        tell(First("a#x", "1", KEEP_MS), First("a#y", "1", KEEP_MS), First("a", "1", KEEP_MS))
        tell(First("ab#x", "1", KEEP_MS), Publish("p1", "{}", "a#p", KEEP_MS))
        tell(Note("a", "d", True, KEEP_MS), Pace("a", _HOUR_MS, 0))
        assert tell(Forget("a"), Forget("a")) == [5, 0]
        assert tell(First("a#x", "2", KEEP_MS), First("a", "2", KEEP_MS), First("ab#x", "2", KEEP_MS)) == [
            "2",
            "1",
            "1",
        ]
        assert tell(Publish("p2", "{}", "a#p", KEEP_MS), Note("a", "d", True, KEEP_MS)) == [
            True,
            Noted(1, 1, 1),
        ]
        assert tell(Pace("a", _HOUR_MS, 0)) == [0]

    def test_a_group_may_be_part_of_another(self, tell: Tell) -> None:
        """A `#` in the rest of a key is a character like any other, and ends a group as well."""
        tell(First("a#b#c", "1", KEEP_MS), First("a#b", "1", KEEP_MS), First("a#bb#c", "1", KEEP_MS))
        assert tell(Forget("a#b"), Forget("a")) == [1, 2]

    # ------------------------------------------------------------------ runs and lines

    def test_failures_are_counted_until_a_success(self, tell: Tell) -> None:
        """Over all processes of a run; each run for itself."""
        answers = tell(*[Note("r", "", failed, KEEP_MS) for failed in (True, True, False, True)])
        assert [noted.failures for noted in answers] == [1, 2, 0, 1]
        assert tell(Note("other", "", True, KEEP_MS)) == [Noted(1, 0, 1)]

    def test_repetitions_are_counted_among_the_last_32(self, tell: Tell) -> None:
        """What is older is forgotten; a call without a digest is no repetition and forgets nothing."""
        answers = tell(*[Note("r", digest, False, KEEP_MS) for digest in ("a", "b", "a", "", "a b", "a")])
        assert [noted.repeats for noted in answers] == [1, 1, 2, 0, 1, 3]
        tell(*[Note("r", f"d{at}", False, KEEP_MS) for at in range(28)], Note("r", "", False, KEEP_MS))
        assert _counts(tell(Note("r", "a", False, KEEP_MS))) == [(0, 3)], "the first of them is the 33rd"
        assert _counts(tell(*[Note("r", "a", False, KEEP_MS)] * 40))[-1] == (0, 32)

    def test_a_note_may_leave_the_failures_as_they_are(self, tell: Tell) -> None:
        """A call that was cancelled is neither a failure nor a success; a flag by itself is no call at all."""
        answers = tell(*[Note("r", "d", failed, KEEP_MS) for failed in (True, None, True)])
        assert _counts(answers) == [(1, 1), (1, 2), (2, 3)]
        assert tell(Note("r", "d", False, KEEP_MS, cost=5, flag="failures", counts=False)) == [
            Noted(2, 0, 3, 0, answers[-1].active_ms, "failures")
        ]

    def test_flags_stay_up_for_all_later_notes(self, tell: Tell) -> None:
        """Whoever works in the run learns of them with its next note."""
        tell(
            *[Note("r", "", None, KEEP_MS, flag=flag, counts=False) for flag in ("repeats", "rep", "repeats")]
        )
        assert [
            noted.flags for noted in tell(Note("r", "", False, KEEP_MS), Note("s", "", False, KEEP_MS))
        ] == [
            "repeats rep",
            "",
        ]

    def test_cost_and_activity_of_a_run_add_up(self, tell: Tell, advance: Callable[[int], None]) -> None:
        """A sum never passes what a ledger holds."""
        (first,) = tell(Note("r", "", False, KEEP_MS, cost=7))
        assert (first.calls, first.cost, first.active_ms) == (1, 7, 0)
        advance(60)
        (second,) = tell(Note("r", "", False, KEEP_MS, cost=5))
        assert (second.calls, second.cost) == (2, 12)
        assert second.active_ms > 0
        (last,) = tell(Note("r", "", False, KEEP_MS, cost=MAX_AMOUNT))
        assert (last.calls, last.cost) == (3, MAX_AMOUNT)
        assert last.active_ms >= second.active_ms

    def test_notes_are_forgotten_when_a_run_is_silent(
        self, tell: Tell, advance: Callable[[int], None]
    ) -> None:
        """Counted from the last note; a later one never shortens the time."""
        tell(Note("silent", "a", True, 30), Note("busy", "a", True, KEEP_MS), Note("busy", "a", True, 1))
        advance(60)
        answers = tell(Note("silent", "a", True, 30), Note("busy", "a", True, 30))
        assert _counts(answers) == [(1, 1), (3, 3)]
        assert [noted.calls for noted in answers] == [1, 3]

    def test_a_line_moves_once_an_interval(self, tell: Tell) -> None:
        """The first goes at once, who has no patience takes no place."""
        first, second, impatient, third = tell(
            Pace("g", _HOUR_MS, 0),
            Pace("g", _HOUR_MS, 5 * _HOUR_MS),
            Pace("g", _HOUR_MS, _HOUR_MS),
            Pace("g", _HOUR_MS, 5 * _HOUR_MS),
        )
        assert (first, impatient) == (0, -1)
        assert _HOUR_MS - KEEP_MS < second <= _HOUR_MS
        assert 2 * _HOUR_MS - KEEP_MS < third <= 2 * _HOUR_MS
        assert tell(Pace("other", _HOUR_MS, 0)) == [0]

    def test_a_line_that_stood_empty_saves_nothing_up(
        self, tell: Tell, advance: Callable[[int], None]
    ) -> None:
        """After a pause one goes at once, not several."""
        tell(Pace("g", 20, 0))
        advance(60)
        first, second = tell(Pace("g", _HOUR_MS, 0), Pace("g", _HOUR_MS, 0))
        assert (first, second) == (0, -1)

    def test_many_take_places_at_once(self, tell: Tell) -> None:
        """Each a place of its own."""
        batches: list[list[Op]] = [[Pace("g", _HOUR_MS, 100 * _HOUR_MS)] for _ in range(16)]
        waits = sorted(wait for (wait,) in tell.together(batches))
        assert [round(wait / _HOUR_MS) for wait in waits] == list(range(16))

    # ------------------------------------------------------------------ the stream

    def test_records_come_back_in_order(self, tell: Tell) -> None:
        """All, the last ones, or those behind a place."""
        records = ['{"n":1}', '{"text":"ü \\u0000 \U0001f600"}', "{}"]
        assert tell(*[Publish(f"id-{at}", record) for at, record in enumerate(records)]) == [True] * 3
        (everything,) = tell(Recent())
        assert [one.record for one in everything] == records
        places = [one.place for one in everything]
        assert len(set(places)) == len(places)
        assert tell(Recent(2), Recent(0), Recent(5, places[0]), Recent(1, places[0])) == [
            everything[1:],
            [],
            everything[1:],
            everything[2:],
        ]
        assert tell(Recent(5, places[-1])) == [[]]

    def test_a_place_that_is_none_is_refused(self, tell: Tell) -> None:
        """It did not come from the stream."""
        for place in ("x", "1", "1-", "-1-0", "99999999999999999999-0"):
            with pytest.raises(InvalidInput, match="no place in the stream"):
                tell(Recent(1, place))

    def test_an_id_is_published_once(self, tell: Tell) -> None:
        """Among the last 1,000; the stream keeps at least as many records."""
        assert tell(Publish("twice", "{}"), Publish("twice", '{"again":1}')) == [True, False]
        assert tell(*[Publish(f"id-{at}", f'{{"n":{at}}}') for at in range(999)]) == [True] * 999
        assert tell(Publish("twice", '{"again":2}')) == [False]
        (kept,) = tell(Recent(2000))
        assert [one.record for one in kept[-1000:]] == ["{}", *[f'{{"n":{at}}}' for at in range(999)]]
        assert tell(Publish("one more", "{}"), Publish("twice", '{"again":3}')) == [True, True]

    def test_the_stream_does_not_grow_for_ever(self, tell: Tell) -> None:
        """The last 1,000 records are kept, and not more than 2,000."""
        for start in range(0, 3000, 250):
            tell(*[Publish(f"id-{at}", f"{at}") for at in range(start, start + 250)])
        (kept,) = tell(Recent(2000))
        assert RECORDS_MIN <= len(kept) <= RECENT_MAX
        assert [one.record for one in kept] == [f"{at}" for at in range(3000 - len(kept), 3000)]
        (behind,) = tell(Recent(2000, "0-1"))
        assert behind == kept

    def test_of_all_who_name_one_thing_one_publishes(self, tell: Tell) -> None:
        """A threshold is crossed by many and told once."""
        batches: list[list[Op]] = [[Publish(f"by-{at}", f"{at}", "acct#80", KEEP_MS)] for at in range(16)]
        answers = [published for (published,) in tell.together(batches)]
        assert sorted(answers) == [False] * 15 + [True]
        (told,) = tell(Recent())
        assert [one.record for one in told] == [str(answers.index(True))]

    def test_once_ends_with_its_time(self, tell: Tell, advance: Callable[[int], None]) -> None:
        """And `First` under the same key is another thing."""
        tell(First("acct#80", "1", KEEP_MS))
        assert tell(Publish("1", "{}", "acct#80", 30)) == [True]
        advance(60)
        assert tell(Publish("2", "{}", "acct#80", KEEP_MS), Publish("3", "{}", "acct#80", KEEP_MS)) == [
            True,
            False,
        ]
        assert tell(First("acct#80", "2", KEEP_MS)) == ["1"]

    # ------------------------------------------------------------------ deliveries

    def test_a_delivery_is_leased_to_one_until_it_is_acknowledged(self, tell: Tell) -> None:
        """One for each webhook a record names."""
        tell(Publish("e1", '{"ü":1}', deliver=("ops", "a:b ü")), Publish("e2", "{}"))
        taken, again = tell(Take(LEASE_MS), Take(LEASE_MS))
        assert [(one.id, one.webhook, one.record, one.attempt) for one in taken] == [
            ("e1:a:b ü", "a:b ü", '{"ü":1}', 1),
            ("e1:ops", "ops", '{"ü":1}', 1),
        ]
        assert again == []
        assert tell(Ack(("e1:ops", "e1:ops", "unknown")), Ack(())) == [1, 0]

    def test_a_delivery_comes_again_after_its_lease(self, tell: Tell, advance: Callable[[int], None]) -> None:
        """Unless it is acknowledged; the attempts are counted for all who try."""
        tell(Publish("e1", "one", deliver=("ops",)), Publish("e2", "two", deliver=("ops",)), Take(30))
        advance(60)
        (second,) = tell(Take(30))
        assert [(one.id, one.attempt) for one in second] == [("e1:ops", 2), ("e2:ops", 2)]
        assert tell(Ack(("e1:ops",))) == [1]
        advance(60)
        (third,) = tell(Take(30))
        assert [(one.id, one.record, one.attempt) for one in third] == [("e2:ops", "two", 3)]

    def test_no_more_are_taken_than_asked_for(self, tell: Tell) -> None:
        """The longest due first; what is not published is not delivered."""
        for at in range(5):
            tell(Publish(f"e{at}", "{}", deliver=("ops",)), Publish(f"e{at}", "{}", deliver=("twice",)))
        taken = [one.id for answer in tell(Take(LEASE_MS, 3), Take(LEASE_MS, 3)) for one in answer]
        assert taken == [f"e{at}:ops" for at in range(5)]
        assert tell(Take(LEASE_MS, 0)) == [[]]

    def test_many_who_take_share(self, tell: Tell) -> None:
        """No delivery goes to two of them."""
        tell(*[Publish(f"e{at}", "{}", deliver=("ops",)) for at in range(60)])
        batches: list[list[Op]] = [[Take(LEASE_MS, 5)] for _ in range(16)]
        taken = [one.id for (answer,) in tell.together(batches) for one in answer]
        assert sorted(taken) == sorted(f"e{at}:ops" for at in range(60))
