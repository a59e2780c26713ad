"""A runtime for the length of a test: its own books, its own clock, and nothing that waits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from costscope.scope.default_runtime import default_in_block
from costscope.scope.runtime import Runtime, services_of
from costscope.testing.clock import ManualClock
from costscope.testing.outage import OutageStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from costscope.policy.load.loader import PolicySource
    from costscope.scope.runtime import RuntimeOptions


class Session:
    """What `costscope.testing.runtime` opens.

    Attributes:
        runtime: the runtime under test.
        clock: moves its time, and that of its store.
        store: its books; `with session.store.away(): ...` is an outage.
    """

    def __init__(self, runtime: Runtime, clock: ManualClock, store: OutageStore) -> None:
        self.runtime = runtime
        self.clock = clock
        self.store = store

    def settle(self) -> None:
        """Let everything that waits in the outbox (cancelled calls, abandoned streams, outages) reach the books now.

        Raises:
            AssertionError: it cannot, because the store is away.
        """
        waiting = len(services_of(self.runtime).outbox)
        if waiting and (self.store.is_away or not services_of(self.runtime).outbox.drain()):
            msg = f"{waiting} settlements cannot be sent while the store is away; leave the block of store.away() first"
            raise AssertionError(msg)

    @property
    def open_holds(self) -> int:
        """Count the reservations that hold something right now: 0 when every call has been settled."""
        return len(self.store.snapshot().holds)


@contextmanager
def runtime(
    policy: PolicySource | None = None, *, start: ManualClock | None = None, **options: Unpack[RuntimeOptions]
) -> Iterator[Session]:
    """Open a runtime on memory books with a manual clock, the default one inside the block.

    Nothing in it waits: the store answers at once, leases and windows end when the clock is moved, and
    settlements that are repeated are repeated at once when `settle` asks. The default runtime of before is put
    back at the end and was not closed.

    Args:
        policy: as for `Runtime`.
        start: a clock to share with another session.
        options: see `Runtime`; `clock` is the session's own.

    Raises:
        InvalidPolicy: the policy cannot be used.
        AssertionError: at the end, when the books are not exact: a bug in costscope.
    """
    from costscope_memory import MemoryStore  # noqa: PLC0415 - core does not import a backend before it is asked for

    clock = start or ManualClock()
    store = OutageStore(MemoryStore(clock=clock))
    options["clock"] = clock
    made = Runtime(store=store, policy=policy, **options)
    with made, default_in_block(made):
        yield Session(made, clock, store)
    report = store.audit()
    if not report.exact:
        raise AssertionError("; ".join(map(str, report.differences)))
