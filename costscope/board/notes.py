"""What a run did last, for the detection of runaways."""

from __future__ import annotations

from collections import deque

from costscope.board.limits import DIGESTS_MAX
from costscope.board.ops import Noted

__all__ = ["RunNotes"]


class RunNotes:
    """The failures of one run without a success between them, and its last 32 digests."""

    __slots__ = ("_digests", "_failures", "_times")

    def __init__(self) -> None:
        self._failures = 0
        self._digests: deque[str] = deque()
        self._times: dict[str, int] = {}
        """How often each of them is there: counting them anew takes as long as all the rest."""

    def note(self, digest: str, failed: bool) -> Noted:
        """Enter one call; an empty digest is not a repetition of anything."""
        self._failures = self._failures + 1 if failed else 0
        if not digest:
            return Noted(self._failures, 0)
        times = self._times
        times[digest] = (
            times.get(digest, 0) + 1
        )  # first: an interrupt in between counts once too often, not too seldom
        self._digests.append(digest)
        if len(self._digests) > DIGESTS_MAX:
            oldest = self._digests.popleft()
            times[oldest] -= 1
            if not times[oldest]:
                del times[oldest]
        return Noted(self._failures, times[digest])
