"""The runs that a guard has open, by the id that the framework gave them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from costscope.errors import HookRepeated
from costscope.guard.opened import unknown_run

if TYPE_CHECKING:
    from costscope.guard.opened import OpenRun

__all__ = ["Runs"]


class Runs:
    """The open runs of one guard."""

    def __init__(self) -> None:
        self._open: dict[str, OpenRun | None] = {}
        self._lock = threading.Lock()

    def claim(self, run_id: str) -> None:
        """Somebody asks for this run to be admitted.

        Raises:
            HookRepeated: it is open already, or asked for.
        """
        with self._lock:
            if run_id in self._open:
                msg = (
                    f"run {run_id!r} is open in this guard already; end it with on_run_end first, or give every run "
                    "an id of its own"
                )
                raise HookRepeated(msg)
            self._open[run_id] = None

    def admitted(self, opened: OpenRun) -> None:
        """It is open from now on."""
        with self._lock:
            self._open[opened.run_id] = opened

    def drop(self, run_id: str) -> None:
        """It is open no more, or was refused: nothing is remembered of it."""
        with self._lock:
            self._open.pop(run_id, None)

    def get(self, run_id: str) -> OpenRun:
        """The open run of this id.

        Raises:
            RunUnknown: there is none.
        """
        found = self._open.get(run_id)
        if found is None:
            raise unknown_run(run_id)
        return found

    def ids(self) -> tuple[str, ...]:
        """The ids of all open runs."""
        with self._lock:
            return tuple(run_id for run_id, opened in self._open.items() if opened is not None)
