"""Looking into a store for a scrape: at most once a second, and never for longer than a scrape may take."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import CostscopeError
from costscope.ledger import audit
from costscope.observe.events.reader import EventReader
from costscope.observe.events.records import KINDS
from costscope.observe.exporter.series import Family, families, rules, status, up
from costscope.observe.reports.account_rows import account_rows
from costscope.observe.reports.forecast import BurnRates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from costscope.observe.exporter.grouping import Grouping
    from costscope.policy import Policy
    from costscope.stores import Store


_OTHER: Final = "other"
_ALL: Final = 100_000
"""More than any stream keeps."""


class _Typed(msgspec.Struct):
    type: str


_decoder: Final = msgspec.json.Decoder(_Typed)


class EventCounts:
    """How many events of each type there were since the first look.

    Every type is there from the start, as 0: Prometheus sees a counter rise only from a value it has scraped. What
    the stream holds at the first look is not counted, or a restart would count it a second time.
    """

    def __init__(self) -> None:
        self._counts = dict.fromkeys((*KINDS, _OTHER), 0)
        self._reader = EventReader()
        self._has_looked = False

    def look(self, store: Store) -> Mapping[str, int]:
        """Return the counts, with what has come since the last look."""
        records = self._reader.read_records(store, _ALL)
        if self._has_looked:
            for record in records:
                self._counts[_type(record)] += 1
        self._has_looked = True
        return dict(self._counts)


def _type(record: str) -> str:
    try:
        found = _decoder.decode(record).type
    except msgspec.DecodeError:  # by other hands, or by a newer version
        return _OTHER
    return found if found in KINDS else _OTHER


_OFTEN_S: Final = 1.0
_PATIENCE_S: Final = 5.0
"""Half of what Prometheus waits for a scrape by default."""

_log = logging.getLogger("costscope.exporter")


class Reader:
    """Turns successive snapshots of a store into samples.

    Args:
        store: the books.
        grouping: which accounts share series.
        policy: says the limits that hold now; called at each reading. By default those of the last reservations.
        rates: the burn rates; by default over five minutes.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        store: Store,
        grouping: Grouping,
        policy: Callable[[], Policy | None] = lambda: None,
        *,
        rates: BurnRates | None = None,
        patience_s: float = _PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._grouping = grouping
        self._policy = policy
        self._rates = rates or BurnRates()
        self._events = EventCounts()
        self._patience_s = patience_s
        self._clock = clock
        self._starting = threading.Lock()
        self._last: tuple[float, Future[tuple[Family, ...]]] | None = None
        self._trouble = ""

    def families(self) -> tuple[Family, ...]:
        """Return the samples of a reading that is at most a second old, or just that there is none.

        Never raises and never waits for longer than `patience_s`, even where the store never answers.
        """
        began, reading = self._current_reading()
        try:
            found = reading.result(max(began + self._patience_s - self._clock(), 0))
        except Exception as error:  # noqa: BLE001 - the scrape must say that something is wrong in any case
            if not reading.done():
                self._log_change(f"no answer within {self._patience_s:g} s")
            else:
                self._log_change(
                    str(error) or repr(error), None if isinstance(error, CostscopeError) else error
                )
            return (up(reachable=False),)
        self._log_change("")
        return found

    def _log_change(self, problem: str, error: Exception | None = None) -> None:
        """Log a change: the store may be away for hours, and scrapes come every few seconds."""
        if problem == self._trouble:
            return
        self._trouble = problem
        if problem:
            _log.warning("%s cannot be read: %s", self._store.url, problem, exc_info=error)
        else:
            _log.warning("%s can be read again", self._store.url)

    def _current_reading(self) -> tuple[float, Future[tuple[Family, ...]]]:
        """Return when the last reading began, and what it came to or will; begin a new one if it is old."""
        with self._starting:
            last, now = self._last, self._clock()
            if last is not None and (not last[1].done() or now - last[0] < _OFTEN_S):
                return last
            self._last = last = now, Future()
            # a daemon: a store that never answers must not keep the process from ending
            threading.Thread(
                target=self._read_into, args=(last[1],), name="costscope-exporter", daemon=True
            ).start()
            return last

    def _read_into(self, future: Future[tuple[Family, ...]]) -> None:
        try:
            future.set_result(self._read())
        except BaseException as error:  # noqa: BLE001 - the thread that waits gets it
            future.set_exception(error)

    def _read(self) -> tuple[Family, ...]:
        began = self._clock()
        snapshot = self._store.snapshot()
        events = self._events.look(self._store)
        policy = self._policy()
        rows = account_rows(snapshot, policy)
        self._rates.observe(snapshot.now_ms, rows)
        groups = self._grouping.groups(rows, snapshot.now_ms, self._rates)
        of_budgets = families(groups, self._grouping.labels)
        of_ledger = status(
            holds=len(snapshot.holds),
            differences=len(audit(snapshot).differences),
            accounts=len(snapshot.accounts),
            events=events,
            seconds=self._clock() - began,
        )
        of_policy = () if policy is None else (rules(policy),)
        return (*of_ledger, *of_budgets, *of_policy)
