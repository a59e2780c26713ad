"""What the ledger keeps: books and holds, their deadlines, and when they may be forgotten.

The verbs of `transition.py` stand on this. A signal handler may raise between any two steps of Python (Ctrl-C), so
what belongs together is written by one call into C (`write`), in which no handler runs.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from itertools import starmap
from typing import TYPE_CHECKING, Final

from costscope.ledger.commands import LostHold, Release
from costscope.ledger.meters import SLOTS
from costscope.ledger.state import Book, Hold, HoldState, Plan, Snapshot, SnapshotAccount, SnapshotHold
from costscope.ledger.times import PRESUMED_KEEP_MS, YEAR_MS

if TYPE_CHECKING:
    from costscope.ledger.commands import Account, Commit, Forgive

Write = tuple[object, str, object]
"""`(object, attribute, value)`."""

_HELD: Final = HoldState.HELD
_FOREVER_MS: Final = 1 << 62
_STALE_DEADLINES: Final = 1024
_PLANS_MAX: Final = 4096
_LOST_MAX: Final = 4096


class Books:
    """The books and holds of one ledger, in memory."""

    def __init__(self) -> None:
        self._books: dict[str, Book] = {}
        self._holds: dict[str, Hold] = {}
        self._plans: dict[int, Plan] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._drops: list[tuple[int, str]] = []
        self._compact_at = _STALE_DEADLINES
        self._next_ms = _FOREVER_MS
        self.lost: deque[LostHold] = deque(maxlen=_LOST_MAX)
        """Holds that were presumed lost, until they are taken from here."""
        self._queued_ms = 0
        """From then on no ticket counts on any account, unless another one is queued."""

    def sweep(self, now_ms: int, at_most: int = 256) -> None:
        """Presume the holds whose deadline has passed, and forget what need not be kept; bounded work."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now_ms and at_most:
            at_most -= 1
            hold_id = deadlines[0][1]
            hold = self._holds.get(hold_id)
            if hold is not None and hold.state is _HELD:
                if hold.deadline_ms > now_ms:  # extended since this entry was made
                    heapreplace(deadlines, (hold.deadline_ms, hold_id))
                    continue
                self._lose(hold_id, hold, now_ms)
            heappop(deadlines)
        self._forget(now_ms, at_most)
        ahead = [heap[0][0] for heap in (deadlines, self._drops) if heap]
        self._next_ms = min(ahead, default=_FOREVER_MS)

    def snapshot(self, now_ms: int) -> Snapshot:
        """Return everything that stands in the books now."""
        books = {key: book for key, book in self._books.items() if not book.gone(now_ms)}
        names = {id(cell): key for key, book in books.items() for cell in book.cells.values()}
        return Snapshot(
            now_ms=now_ms,
            accounts=tuple(
                SnapshotAccount(
                    key, book.about, book.drop_ms, {m: cell.counters() for m, cell in book.cells.items()}
                )
                for key, book in books.items()
            ),
            holds=tuple(
                SnapshotHold(
                    hold_id,
                    hold.deadline_ms,
                    tuple(
                        (names[id(cell)], meter, n) for cell, meter, _, n in hold.entries if id(cell) in names
                    ),
                )
                for hold_id, hold in self._holds.items()
                if hold.state is _HELD
            ),
        )

    def _find(self, hold_id: str, now_ms: int) -> Hold | None:
        hold = self._holds.get(hold_id)
        if hold is not None and 0 < hold.drop_ms <= now_ms:
            return None
        return hold

    def _plan(self, accounts: tuple[Account, ...], now_ms: int) -> Plan:
        """Lay out the books of these accounts; what does not exist yet is a blank that `_enter` puts into the ledger."""
        found = []
        for account in accounts:
            book = self._books.get(account.key)
            found.append(Book() if book is None or book.gone(now_ms) else book)
        return Plan(accounts, tuple(found))

    def _enter(self, plan: Plan, now_ms: int) -> None:
        """Put new books into the ledger, prolong the keeping of old ones, and remember the plan."""
        from_ms, to_ms, until_ms, idle_ms = 0, _FOREVER_MS, _FOREVER_MS, YEAR_MS
        for account, book in zip(plan.accounts, plan.books, strict=True):
            self._books[account.key] = book
            book.about = account.about
            keep_ms, end_ms = account.keep_ms, account.end_ms
            if end_ms:
                from_ms, to_ms = max(from_ms, account.start_ms), min(to_ms, end_ms)
                until_ms = min(until_ms, end_ms + keep_ms)
                drop_ms = max(book.drop_ms, end_ms + keep_ms)  # another policy's holds may count on it
            elif keep_ms:
                # An account without a window is prolonged in steps of an eighth of its keeping time.
                step_ms = keep_ms >> 3
                idle_ms = min(idle_ms, keep_ms - step_ms)
                drop_ms = max(book.drop_ms, now_ms + keep_ms)
                drop_ms = drop_ms if drop_ms - book.drop_ms > step_ms else book.drop_ms
                to_ms = min(to_ms, drop_ms - keep_ms + step_ms + 1)
            else:
                continue
            if drop_ms != book.drop_ms:
                book.drop_ms = drop_ms
                self._due(self._drops, drop_ms, account.key)
        plan.from_ms, plan.to_ms, plan.until_ms, plan.idle_ms = from_ms, to_ms, until_ms, idle_ms
        if len(self._plans) >= _PLANS_MAX:
            self._plans.clear()
        self._plans[id(plan.accounts)] = plan

    def _close(self, hold: Hold, state: HoldState, command: Commit | Release | Forgive, now_ms: int) -> None:
        """Enter the end of a hold; without a keeping time there is nothing to remember."""
        if not command.keep_ms:
            self._holds.pop(command.id, None)
            return
        hold.state = state
        hold.actual = {} if isinstance(command, Release) else command.amounts
        self._retire(command.id, hold, now_ms + command.keep_ms)

    def _lose(self, hold_id: str, hold: Hold, now_ms: int) -> HoldState:
        """Presume a hold's process dead: charge what it held, or give it back where that was asked.

        Its slots are free in any case: what they stood for has ended.
        """
        if hold.request is not None and hold.request.on_lost == "charge":
            writes: list[Write] = [(hold, "state", HoldState.PRESUMED)]
            for cell, meter, _, amount in hold.entries:
                writes.append((cell, "held", cell.held - amount))
                if meter in SLOTS:
                    writes.append((cell, "released", cell.released + amount))
                    continue
                writes += ((cell, "presumed", cell.presumed + amount), (cell, "spent", cell.spent + amount))
            write(writes)
        else:
            give_back(hold)
        self._retire(hold_id, hold, now_ms + PRESUMED_KEEP_MS)
        if hold.plan is not None:
            self.lost.append(LostHold(hold_id, tuple(account.key for account in hold.plan.accounts)))
        return hold.state

    def _retire(self, hold_id: str, hold: Hold, drop_ms: int) -> None:
        hold.drop_ms = drop_ms
        self._holds[hold_id] = hold
        self._due(self._drops, drop_ms, hold_id)

    def _due(self, heap: list[tuple[int, str]], at_ms: int, name: str) -> None:
        heappush(heap, (at_ms, name))
        self._next_ms = min(self._next_ms, at_ms)

    def _forget(self, now_ms: int, at_most: int) -> None:
        drops = self._drops
        while drops and drops[0][0] <= now_ms and at_most:
            at_most -= 1
            _, name = heappop(drops)
            hold, book = self._holds.get(name), self._books.get(name)
            if hold is not None and 0 < hold.drop_ms <= now_ms:
                del self._holds[name]
            if book is not None and book.gone(now_ms):
                del self._books[name]

    def _drop_stale_deadlines(self) -> None:
        """Forget the deadlines of settled holds, which wait in the heap until they would have been due."""
        self._deadlines = [
            (hold.deadline_ms, hold_id) for hold_id, hold in self._holds.items() if hold.state is _HELD
        ]
        heapify(self._deadlines)
        self._compact_at = _STALE_DEADLINES + 2 * len(self._deadlines)


def gone(hold: Hold, now_ms: int) -> bool:
    """Tell whether an account of the hold has been forgotten since."""
    return hold.plan is not None and any(book.gone(now_ms) for book in hold.plan.books)


def give_back(hold: Hold) -> None:
    """Release what a live or presumed hold has."""
    live = hold.state is _HELD
    writes: list[Write] = [(hold, "state", HoldState.RELEASED)]
    for cell, meter, _, amount in hold.entries:
        if live:
            writes.append((cell, "held", cell.held - amount))
        elif meter in SLOTS:
            continue  # given back when the hold was lost
        else:
            writes += ((cell, "presumed", cell.presumed - amount), (cell, "spent", cell.spent - amount))
        writes.append((cell, "released", cell.released + amount))
    write(writes)


def write(writes: list[Write]) -> None:
    """Set all of these attributes in one call into C, which no signal handler can interrupt."""
    deque(starmap(setattr, writes), maxlen=0)
