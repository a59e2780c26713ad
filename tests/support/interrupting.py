"""Ctrl-C at every moment at which it could strike."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import costscope
import costscope_memory
import costscope_valkey

__all__ = ["Interrupt"]

OURS = tuple(
    str(Path(package.__file__).parent) for package in (costscope, costscope_memory, costscope_valkey)
)
GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Interrupt:
    """Raises KeyboardInterrupt at the n-th moment at which CPython could run a signal handler in our code.

    Those are the entry of a Python function and the return from a C function; there a profiler is told, and
    what it raises comes up in just that place.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.moments = 0
        self.fired = False

    def __enter__(self):
        self._before = sys.getprofile()
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _profile(self, frame, event, arg):
        code = frame.f_code
        if event not in ("call", "c_return") or not code.co_filename.startswith(OURS):
            return
        if event == "call" and code.co_flags & GENERATORS:
            return  # a profiler that raises there ends the generator without its handlers; a signal does not
        if event == "c_return" and arg in (sys.setprofile, sys.getprofile):
            return
        if in_finalizer(frame):
            return  # Python swallows what comes up there; such a hold is presumed after its lease
        if self.moments == self.at:
            self.fired = True
            sys.setprofile(None)
            raise KeyboardInterrupt
        self.moments += 1


def in_finalizer(frame) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
