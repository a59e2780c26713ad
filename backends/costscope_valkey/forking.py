"""What a forked child must forget: sockets that belong to the parent, locks held by threads it does not have."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "renew_after_fork"]


class Forkable(Protocol):
    """Something that must begin anew in a forked child."""

    def after_fork(self) -> None:
        """Drop locks and connections; runs in the child, before any other thread exists there."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def renew_after_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child forked from now on, as long as it lives.

    A hook costs nothing on the hot path, where asking `os.getpid()` before each request is a system call.
    """
    _forkables.add(forkable)


def _renew_all() -> None:
    for forkable in list(_forkables):
        forkable.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
