"""When an account will be exhausted if it goes on like this, and whether it resets before."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costscope.observe.reports.account_rows import AccountRow, MeterRow


class Forecast(msgspec.Struct, frozen=True):
    """One meter of one account, looked at from one instant. Amounts in the meter's unit (`cost`: nano-units)."""

    left: int
    """What may still be reserved; never negative."""
    utilisation: float
    """(spent + held) / limit; 1.0 for a limit of 0."""
    exhausted_s: float | None
    """Seconds until nothing is left; 0.0: nothing is; infinite: it is not being spent; None: no rate is known."""
    reset_s: float | None
    """Seconds until the window ends; None: it has none."""
    at_reset: float | None
    """The utilisation at the end of the window if it goes on like this; None: no window, or no rate is known."""

    @property
    def lasts(self) -> bool:
        """True if the reset comes first, or nothing is being spent as far as is known."""
        if self.exhausted_s is None:
            return True
        return self.exhausted_s >= (math.inf if self.reset_s is None else max(self.reset_s, 0.001))


def forecast(row: AccountRow, line: MeterRow, now_ms: int, rate: float | None) -> Forecast | None:
    """Say what becomes of a meter; None where nothing limits it.

    Args:
        row: the account.
        line: one of its meters.
        now_ms: the instant of the snapshot.
        rate: of the meter, per second; None if it is not known, which it never is of a slot.
    """
    if line.limit is None:
        return None
    used = line.counters.spent + line.counters.held
    left = max(line.limit - used, 0)
    reset_s = max(row.end_ms - now_ms, 0) / 1000 if row.end_ms else None
    return Forecast(
        left=left,
        utilisation=_share(used, line.limit),
        exhausted_s=_exhausted_in_s(left, rate),
        reset_s=reset_s,
        at_reset=None if rate is None or reset_s is None else _share(used + rate * reset_s, line.limit),
    )


def _share(used: float, limit: int) -> float:
    return used / limit if limit else 1.0


def _exhausted_in_s(left: int, rate: float | None) -> float | None:
    if not left:
        return 0.0
    if rate is None:
        return None
    return left / rate if rate > 0 else math.inf


WINDOW_S: Final = 300.0
"""Five minutes: long enough to bridge the pauses of an agent, short enough to see a runaway."""

_MARKS: Final = 32
"""Points that are remembered within the window, at most, however often snapshots are taken."""


class BurnRates:
    """The rates of every account and meter that was seen in the last snapshot.

    A rate is what was spent within the last `window_s` seconds, divided by them. What happened before the first
    snapshot is not known. An account with a window is then taken to have been spent evenly since its window began, so
    that the very first snapshot gives a rate; one without a window has a rate from the second snapshot on. An account
    that was not there at one snapshot and is at the next has spent all it has in between.

    A fall of `spent` (a debt was forgiven, a lost call turned out cheaper) is no negative burning: only rises count.

    Args:
        window_s: how far back to look, in seconds.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_ms = int(window_s * 1000)
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._last_ms: int | None = None

    def observe(self, now_ms: int, rows: Iterable[AccountRow]) -> None:
        """Take in a snapshot; one that is not younger than the last is passed over.

        Args:
            now_ms: its instant, by the store's clock.
            rows: all its accounts.
        """
        last_ms = self._last_ms
        if last_ms is not None and now_ms <= last_ms:
            return
        known, self._tracks = self._tracks, {}
        for row in rows:
            for line in row.meters:
                if not line.spends:
                    continue
                place, spent = (row.key, line.meter), line.counters.spent
                track = known.get(place)
                if track is None:
                    track = _Track(_began(row.start_ms, last_ms, now_ms), now_ms, spent)
                else:
                    track.move(now_ms, spent, last_ms or now_ms, self._window_ms)
                self._tracks[place] = track
        self._last_ms = now_ms

    def per_second(self, key: str, meter: str) -> float | None:
        """Return what an account spends per second, in the meter's unit (`cost`: nano-units).

        None while nothing can be said: the account was not in the last snapshot, or it has no window and was seen
        only once.
        """
        track = self._tracks.get((key, meter))
        if track is None or self._last_ms is None:
            return None
        return track.rate(self._last_ms, self._window_ms)


def _began(start_ms: int, last_ms: int | None, now_ms: int) -> int:
    """Return since when an account that is seen for the first time may have been spent from, in ms."""
    if last_ms is not None:
        return min(max(start_ms, last_ms), now_ms)
    return min(start_ms, now_ms) if start_ms else now_ms


class _Track:
    """One meter of one account: how much has ever been spent, as a line of straight pieces over time."""

    __slots__ = ("gross", "marks", "spent")

    def __init__(self, began_ms: int, now_ms: int, spent: int) -> None:
        self.spent = spent
        if began_ms < now_ms:
            self.gross = spent
            self.marks = deque([(began_ms, 0), (now_ms, spent)])
        else:
            self.gross = 0
            self.marks = deque([(now_ms, 0)])

    def move(self, now_ms: int, spent: int, last_ms: int, window_ms: int) -> None:
        marks = self.marks
        rise = spent - self.spent
        self.spent = spent
        if rise > 0:
            if marks[-1][0] < last_ms:
                self._mark(last_ms, window_ms)
            self.gross += rise
            self._mark(now_ms, window_ms)
        while len(marks) > 1 and marks[1][0] <= now_ms - window_ms:
            marks.popleft()

    def rate(self, now_ms: int, window_ms: int) -> float | None:
        since_ms = max(now_ms - window_ms, self.marks[0][0])
        if since_ms >= now_ms:
            return None
        return (self.gross - self._at(since_ms)) * 1000 / (now_ms - since_ms)

    def _mark(self, at_ms: int, window_ms: int) -> None:
        marks = self.marks
        if len(marks) > 1 and at_ms - marks[-2][0] < window_ms // _MARKS:
            marks.pop()
        marks.append((at_ms, self.gross))

    def _at(self, at_ms: int) -> float:
        """Return what had been spent at an instant that is not before the first mark."""
        before = self.marks[0]
        for after in self.marks:
            if after[0] > at_ms:
                share = (at_ms - before[0]) / (after[0] - before[0])
                return before[1] + share * (after[1] - before[1])
            before = after
        return before[1]
