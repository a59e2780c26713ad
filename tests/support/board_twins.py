"""The board in Python and the one in Lua, driven with the same operations and the same clock."""

from __future__ import annotations

import time
import uuid
import warnings
from typing import TYPE_CHECKING, Final

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, given, settings
from ledger_twins import Disagreement, with_clock

from costscope.board import (
    AckDeliveries,
    Board,
    Forget,
    LeaseDeliveries,
    Pace,
    Publish,
    Published,
    ReadEvents,
    RecordCall,
    SetOnce,
)
from costscope_valkey.codec import source_of
from costscope_valkey.coordination import board_requests
from costscope_valkey.keys import LedgerKeys
from costscope_valkey.link import Script

if TYPE_CHECKING:
    from costscope.board import Answer, Op
    from costscope_valkey.link import Link

__all__ = ["BoardTwins", "compare_boards"]

_DAY: Final = 86_400_000
_AHEAD_MS: Final = 7_200_000
"""The clock that is told starts this far ahead of the server's own, by which the server expires keys."""

_CLOCK: Final = "tonumber(string.match(ARGV[1], '^%d+'))"


class BoardTwins:
    """One board, kept twice."""

    def __init__(
        self, link: Link, name: str, now_ms: int, source: str | None = None, board: type[Board] = Board
    ) -> None:
        self.now_ms = now_ms
        self._board = board()
        self._link = link
        self._keys = LedgerKeys(name)
        self._script = Script(with_clock(source or source_of("board"), _CLOCK))
        self._used: set[str] = set()
        self._places: list[tuple[str, str]] = []
        """Of each record that was ever shown, its place here and there."""

    def apply(self, *templates: Op) -> list[Answer]:
        """Apply a batch to both, and compare the answers."""
        pairs = [self._pair(op) for op in templates]
        expected = [self._board.apply(op, self.now_ms) for op, _ in pairs]
        found: list[Answer] = []
        for request in board_requests([op for _, op in pairs], self._keys):
            self._used.update(request.keys)
            request.args[0] = f"{self.now_ms}:{request.args[0]}"
            found += request.read(self._link.call(self._script, request.keys, request.args))
        for op, one, other in zip(templates, expected, found, strict=True):
            if isinstance(op, ReadEvents):
                self._learn(one, other)
            if _shown(one) != _shown(other):
                msg = f"the answer to {op} in {templates}, at {self.now_ms}:\n  python: {one}\n  lua:    {other}"
                raise Disagreement(msg)
        return expected

    def remove(self) -> None:
        """Leave nothing on the server; it would drop everything by itself, but later."""
        if self._used:
            self._link.command("UNLINK", *sorted(self._used))

    def _pair(self, op: Op) -> tuple[Op, Op]:
        """The operation for each host: places in the stream differ."""
        if not isinstance(op, ReadEvents) or not op.after:
            return op, op
        if not self._places:
            return ReadEvents(op.count), ReadEvents(op.count)
        here, there = self._places[int(op.after) % len(self._places)]
        return ReadEvents(op.count, here), ReadEvents(op.count, there)

    def _learn(self, one, other) -> None:
        for here, there in zip(one, other, strict=False):
            if (here.place, there.place) not in self._places:
                self._places.append((here.place, there.place))


def _shown(answer: Answer) -> object:
    """An answer without places, which are each host's own."""
    return (
        [one.record if isinstance(one, Published) else one for one in answer]
        if type(answer) is list
        else answer
    )


_groups = st.sampled_from(["g", "h", "g#sub", ""])
_keys = st.sampled_from(["g#a", "g#b", "g", "g#sub#a", "h#a", "#a", "g#é c"])
_keeps = st.sampled_from([0, 1, 40, 40, 1000, 1000, 2**60])
_values = st.sampled_from(["", "one", "two ü"])
_digests = st.sampled_from(["", "a", "a", "b", "a b", "%20", "a%20b", "x" * 20])
_ids = st.one_of(st.sampled_from(["p1", "p2", "p3"]), st.uuids().map(str))
_hooks = st.lists(st.sampled_from(["ops", "a:b", "12 x", ""]), max_size=3).map(tuple)
_deliveries = st.lists(
    st.sampled_from([f"{name}:{hook}" for name in ("p1", "p2", "p3") for hook in ("ops", "a:b", "12 x", "")]),
    max_size=4,
).map(tuple)
_ops = st.one_of(
    st.builds(SetOnce, key=_keys, value=_values, keep_ms=_keeps),
    st.builds(Forget, group=_groups),
    st.builds(
        RecordCall,
        run=_groups,
        digest=_digests,
        failed=st.sampled_from([True, False, None]),
        keep_ms=_keeps,
        cost=st.sampled_from([0, 3, 2**52]),
        flag=st.sampled_from(["", "", "a", "b", "ab"]),
        counts=st.sampled_from([True, True, False]),
    ),
    st.builds(
        Pace,
        group=_groups,
        interval_ms=st.sampled_from([0, 1, 40, 1000]),
        patience_ms=st.sampled_from([-1, 0, 40, 2000, 2**60]),
    ),
    st.builds(
        Publish,
        id=_ids,
        record=st.uuids().map(lambda unique: f'{{"ü":"{unique}"}}'),
        once=st.one_of(st.just(""), _keys),
        once_ms=_keeps,
        deliver=_hooks,
    ),
    st.builds(
        ReadEvents, count=st.sampled_from([0, 1, 2, 5, 2000]), after=st.sampled_from(["", "0", "1", "5"])
    ),
    st.builds(LeaseDeliveries, lease_ms=_keeps, count=st.sampled_from([0, 1, 2, 300])),
    st.builds(AckDeliveries, ids=_deliveries),
)
_many_notes = st.integers(20, 40).map(
    lambda n: [RecordCall("g", f"d{at % 33}", True, 1000) for at in range(n)]
)
_batches = st.one_of(st.lists(_ops, min_size=1, max_size=4), _many_notes)
_pauses = st.sampled_from([0, 0, 0, 1, 39, 40, 41, 999, 1000, 1001, 7 * _DAY - 1, 7 * _DAY])
_histories = st.lists(st.tuples(_pauses, _batches), min_size=1, max_size=16)
_EPOCH_DAYS: Final = 30
"""A history lasts no longer, for the server keeps the stream by its own clock."""


def compare_boards(
    link: Link, source: str | None = None, board: type[Board] = Board, *, examples: int, hunt: bool = False
) -> None:
    """Run random histories on both.

    Args:
        link: to the server.
        source: the script, with a mistake or without.
        board: the same for Python.
        examples: how many histories.
        hunt: only find out whether there is a disagreement, without making the example small.

    Raises:
        Disagreement: the hosts answered differently.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if hunt else [Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    @given(_histories)
    def run(history: list[tuple[int, list[Op]]]) -> None:
        start = int(time.time() * 1000) + _AHEAD_MS
        twins = BoardTwins(link, f"t-{uuid.uuid4().hex[:16]}", start, source, board)
        try:
            for pause, ops in history:
                twins.now_ms = min(twins.now_ms + pause, start + _EPOCH_DAYS * _DAY)
                twins.apply(*ops)
            twins.apply(
                ReadEvents(2000),
                LeaseDeliveries(0, 256),
                *[Forget(group) for group in ("g", "h", "g#sub", "")],
            )
        finally:
            twins.remove()

    with warnings.catch_warnings():
        if hunt:  # the history is not read, however long it is
            warnings.filterwarnings("ignore", "Generating overly large repr")
        run()
