"""Notes of the calls of a run, and lines in which calls take their turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger import MAX_AMOUNT
from costscope.ledger.times import HOUR_MS
from costscope.stores.coordination.operations import CallCounts, Pace, RecordCall
from costscope.testing.conformance.callers import KEEP_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores.coordination.operations import Op
    from costscope.testing.conformance.callers import BatchSender


def _counts(answers: list[CallCounts]) -> list[tuple[int, int]]:
    return [(noted.failures, noted.repeats) for noted in answers]


class BoardNotes:
    """What a store promises about them."""

    def test_failures_are_counted_until_a_success(self, tell: BatchSender) -> None:
        """Over all processes of a run; each run for itself."""
        answers = tell(*[RecordCall("r", "", failed, KEEP_MS) for failed in (True, True, False, True)])
        assert [noted.failures for noted in answers] == [1, 2, 0, 1]
        assert tell(RecordCall("other", "", True, KEEP_MS)) == [CallCounts(1, 0, 1)]

    def test_repetitions_are_counted_among_the_last_32(self, tell: BatchSender) -> None:
        """What is older is forgotten; a call without a digest is no repetition and forgets nothing."""
        answers = tell(
            *[RecordCall("r", digest, False, KEEP_MS) for digest in ("a", "b", "a", "", "a b", "a")]
        )
        assert [noted.repeats for noted in answers] == [1, 1, 2, 0, 1, 3]
        tell(
            *[RecordCall("r", f"d{at}", False, KEEP_MS) for at in range(28)],
            RecordCall("r", "", False, KEEP_MS),
        )
        assert _counts(tell(RecordCall("r", "a", False, KEEP_MS))) == [(0, 3)], (
            "the first of them is the 33rd"
        )
        assert _counts(tell(*[RecordCall("r", "a", False, KEEP_MS)] * 40))[-1] == (0, 32)

    def test_a_note_may_leave_the_failures_as_they_are(self, tell: BatchSender) -> None:
        """A call that was cancelled is neither a failure nor a success; a flag by itself is no call at all."""
        answers = tell(*[RecordCall("r", "d", failed, KEEP_MS) for failed in (True, None, True)])
        assert _counts(answers) == [(1, 1), (1, 2), (2, 3)]
        assert tell(RecordCall("r", "d", False, KEEP_MS, cost=5, flag="failures", counts=False)) == [
            CallCounts(2, 0, 3, 0, answers[-1].active_ms, "failures")
        ]

    def test_flags_stay_up_for_all_later_notes(self, tell: BatchSender) -> None:
        """Every process that works in the run learns of them with its next note."""
        tell(
            *[
                RecordCall("r", "", None, KEEP_MS, flag=flag, counts=False)
                for flag in ("repeats", "rep", "repeats")
            ]
        )
        assert [
            noted.flags
            for noted in tell(RecordCall("r", "", False, KEEP_MS), RecordCall("s", "", False, KEEP_MS))
        ] == ["repeats rep", ""]

    def test_cost_and_activity_of_a_run_add_up(
        self, tell: BatchSender, advance: Callable[[int], None]
    ) -> None:
        """A sum never passes what a ledger holds."""
        (first,) = tell(RecordCall("r", "", False, KEEP_MS, cost=7))
        assert (first.calls, first.cost, first.active_ms) == (1, 7, 0)
        advance(60)
        (second,) = tell(RecordCall("r", "", False, KEEP_MS, cost=5))
        assert (second.calls, second.cost) == (2, 12)
        assert second.active_ms > 0
        (last,) = tell(RecordCall("r", "", False, KEEP_MS, cost=MAX_AMOUNT))
        assert (last.calls, last.cost) == (3, MAX_AMOUNT)
        assert last.active_ms >= second.active_ms

    def test_notes_are_forgotten_when_a_run_is_silent(
        self, tell: BatchSender, advance: Callable[[int], None]
    ) -> None:
        """Counted from the last note; a later one never shortens the time."""
        tell(
            RecordCall("silent", "a", True, 30),
            RecordCall("busy", "a", True, KEEP_MS),
            RecordCall("busy", "a", True, 1),
        )
        advance(60)
        answers = tell(RecordCall("silent", "a", True, 30), RecordCall("busy", "a", True, 30))
        assert _counts(answers) == [(1, 1), (3, 3)]
        assert [noted.calls for noted in answers] == [1, 3]

    def test_a_line_moves_once_an_interval(self, tell: BatchSender) -> None:
        """The first goes at once, who has no patience takes no place."""
        first, second, impatient, third = tell(
            Pace("g", HOUR_MS, 0),
            Pace("g", HOUR_MS, 5 * HOUR_MS),
            Pace("g", HOUR_MS, HOUR_MS),
            Pace("g", HOUR_MS, 5 * HOUR_MS),
        )
        assert (first, impatient) == (0, -1)
        assert HOUR_MS - KEEP_MS < second <= HOUR_MS
        assert 2 * HOUR_MS - KEEP_MS < third <= 2 * HOUR_MS
        assert tell(Pace("other", HOUR_MS, 0)) == [0]

    def test_a_line_that_stood_empty_saves_nothing_up(
        self, tell: BatchSender, advance: Callable[[int], None]
    ) -> None:
        """After a pause one goes at once, not several."""
        tell(Pace("g", 20, 0))
        advance(60)
        first, second = tell(Pace("g", HOUR_MS, 0), Pace("g", HOUR_MS, 0))
        assert (first, second) == (0, -1)

    def test_many_take_places_at_once(self, tell: BatchSender) -> None:
        """Each a place of its own."""
        batches: list[list[Op]] = [[Pace("g", HOUR_MS, 100 * HOUR_MS)] for _ in range(16)]
        waits = sorted(wait for (wait,) in tell.together(batches))
        assert [round(wait / HOUR_MS) for wait in waits] == list(range(16))
