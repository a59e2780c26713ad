"""What has a thread of its own ends with its process, and begins anew in a forked child.

At the end of the process everything known here is closed, in the order of its stage, within two seconds for all of
it.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Final, Literal, Protocol
from weakref import WeakSet

__all__ = ["CLOSING_S", "Background", "Stage", "begins", "ends_with_process"]

CLOSING_S: Final = 2.0
"""How long closing may take, for one thing or for all at the end of the process."""

Stage = Literal["callbacks", "publisher", "webhooks"]
"""What is closed first: callbacks may cause publications, publications deliveries."""

_STAGES: Final[tuple[Stage, ...]] = ("callbacks", "publisher", "webhooks")


class Background(Protocol):
    """Something with a thread."""

    def close(self, timeout_s: float = CLOSING_S) -> object:
        """Finish what waits, for at most this long, and end the thread."""
        ...

    def restart_in_child(self) -> None:
        """Forget the parent's thread, its locks and what it had to do."""
        ...


_known: Final[dict[Stage, WeakSet[Background]]] = {stage: WeakSet() for stage in _STAGES}
_registered: Final[set[str]] = set()
_workers_watched: Final[set[int]] = set()


def ends_with_process(thing: Background, stage: Stage) -> None:
    """Close this at the end of the process unless it is gone by then; start it anew in a forked child."""
    _known[stage].add(thing)
    if not _registered:
        # Not before it is needed: what is registered later runs earlier, and the outbox, which may get settlements
        # of metered calls that a callback makes, must be closed behind this.
        _registered.add("atexit")
        atexit.register(_close_all)


def begins() -> None:
    """A thread starts here.

    A forked worker of multiprocessing leaves without `atexit`, but runs finalizers that it has registered itself.
    """
    workers = sys.modules.get("multiprocessing.util")
    if workers is not None and os.getpid() not in _workers_watched:
        _workers_watched.add(os.getpid())
        workers.Finalize(None, _close_all, exitpriority=1)  # before the outbox's, which has 0


def _close_all() -> None:
    deadline = time.monotonic() + CLOSING_S
    for stage in _STAGES:
        for thing in list(_known[stage]):
            thing.close(max(0.0, deadline - time.monotonic()))


def _after_fork() -> None:
    for stage in _STAGES:
        for thing in list(_known[stage]):
            thing.restart_in_child()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork)
