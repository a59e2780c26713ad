"""Marks: what happens first, once over all processes, until it is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.ledger.times import HOUR_MS
from costscope.stores.coordination.operations import CallCounts, Forget, Pace, Publish, RecordCall, SetOnce
from costscope.testing.conformance.callers import KEEP_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.stores import Store
    from costscope.testing.conformance.callers import BatchSender


class BoardMarks:
    """What a store promises about them."""

    def test_nothing_to_tell_is_answered_with_nothing(self, tell: BatchSender) -> None:
        """An empty batch is a batch."""
        assert tell() == []

    def test_answers_come_in_the_order_of_the_operations(self, tell: BatchSender) -> None:
        """Also of more than fit into one request."""
        answers = tell(*[SetOnce(f"g#{at}", str(at), KEEP_MS) for at in range(600)])
        assert answers == [str(at) for at in range(600)]

    def test_the_first_value_stays(self, tell: BatchSender) -> None:
        """Every later one is told what is there."""
        assert tell(SetOnce("a#x", "one", KEEP_MS), SetOnce("a#x", "two", KEEP_MS)) == ["one", "one"]
        assert tell(SetOnce("a#x", "three", KEEP_MS), SetOnce("b#x", "four", KEEP_MS)) == ["one", "four"]

    def test_an_empty_value_is_the_time(self, tell: BatchSender, store: Store) -> None:
        """By the store's clock, in ms since the epoch, and the same for all who ask later."""
        before = store.snapshot().now_ms
        (at,) = tell(SetOnce("a#started", "", KEEP_MS))
        assert before <= int(at) <= store.snapshot().now_ms
        assert tell(SetOnce("a#started", "", KEEP_MS)) == [at]

    def test_a_mark_is_forgotten_after_its_time(
        self, tell: BatchSender, advance: Callable[[int], None]
    ) -> None:
        """And its neighbour in the group is not."""
        tell(SetOnce("a#short", "old", 30), SetOnce("a#long", "old", KEEP_MS))
        advance(60)
        answers = tell(SetOnce("a#short", "new", KEEP_MS), SetOnce("a#long", "new", KEEP_MS))
        assert answers == ["new", "old"]

    def test_forgetting_a_group_lets_everything_in_it_happen_again(self, tell: BatchSender) -> None:
        """Marks, publications, notes and the line under that name, and nothing of other groups."""
        tell(SetOnce("a#x", "1", KEEP_MS), SetOnce("a#y", "1", KEEP_MS), SetOnce("a", "1", KEEP_MS))
        tell(SetOnce("ab#x", "1", KEEP_MS), Publish("p1", "{}", "a#p", KEEP_MS))
        tell(RecordCall("a", "d", True, KEEP_MS), Pace("a", HOUR_MS, 0))
        assert tell(Forget("a"), Forget("a")) == [5, 0]
        assert tell(
            SetOnce("a#x", "2", KEEP_MS), SetOnce("a", "2", KEEP_MS), SetOnce("ab#x", "2", KEEP_MS)
        ) == ["2", "1", "1"]
        assert tell(Publish("p2", "{}", "a#p", KEEP_MS), RecordCall("a", "d", True, KEEP_MS)) == [
            True,
            CallCounts(1, 1, 1),
        ]
        assert tell(Pace("a", HOUR_MS, 0)) == [0]

    def test_a_group_may_be_part_of_another(self, tell: BatchSender) -> None:
        """A `#` in the rest of a key is a character like any other, and ends a group as well."""
        tell(SetOnce("a#b#c", "1", KEEP_MS), SetOnce("a#b", "1", KEEP_MS), SetOnce("a#bb#c", "1", KEEP_MS))
        assert tell(Forget("a#b"), Forget("a")) == [1, 2]
