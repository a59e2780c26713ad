"""The suite: the checks of the other modules, and the fixtures a store's author overrides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from costscope.testing.conformance.admission_checks import Admission
from costscope.testing.conformance.callers import BatchSender, Tasks, Threads
from costscope.testing.conformance.event_log_checks import BoardStream
from costscope.testing.conformance.keeping import Keeping
from costscope.testing.conformance.leases import Leases
from costscope.testing.conformance.protocol import Protocol
from costscope.testing.conformance.run_stats_checks import BoardNotes
from costscope.testing.conformance.set_once_checks import BoardMarks
from costscope.testing.conformance.settlement_checks import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from costscope.stores import Store


class StoreConformance(Protocol, Admission, Settlement, Leases, Keeping, BoardMarks, BoardNotes, BoardStream):
    """Derive from it, give it a `store`, and pytest finds the rest."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        """Yield a store on an empty ledger: to override. The suite closes it."""
        msg = "override the fixture `store`: yield your store, on an empty ledger"
        raise NotImplementedError(msg)

    @pytest.fixture
    def advance(self) -> Callable[[int], None]:
        """Lets milliseconds pass on the store's clock; override it where that clock can be moved."""
        return lambda ms: time.sleep(ms / 1000)

    @pytest.fixture(params=["sync", "async"])
    def colour(self, request: pytest.FixtureRequest, store: Store) -> Iterator[Threads | Tasks]:
        """Call the store in either colour; in the end the books must be exact."""
        colour = Threads(store) if request.param == "sync" else Tasks(store)
        yield colour
        report = store.audit()
        colour.close()
        assert report.exact, "; ".join(map(str, report.differences))

    @pytest.fixture
    def execute(self, colour: Threads | Tasks) -> BatchSender:
        """Apply commands to the books."""
        return BatchSender(colour)

    @pytest.fixture
    def tell(self, colour: Threads | Tasks) -> BatchSender:
        """Apply operations to the board."""
        return BatchSender(colour, board=True)
