"""Batches of many callers' commands: what threads and tasks have in common."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from costscope.errors import StoreError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sized

__all__ = ["BATCH_MAX", "checked", "own_copy", "take"]

R = TypeVar("R")

BATCH_MAX: Final = 256
"""Commands in one request: more would keep the server from everybody else for more than a few milliseconds."""


class HasCommands(Protocol):
    """What waits to be sent: one caller's commands."""

    @property
    def commands(self) -> Sized:
        """They stay together in one batch."""
        ...


Queued = TypeVar("Queued", bound=HasCommands)


def take(entries: list[Queued], queue: deque[Queued], batch_max: int) -> list[Queued]:
    """Move what fits into the next batch, whole and in order, from the queue to `entries`, which has its first.

    An interrupt in between leaves an entry in both rather than in none.
    """
    room = batch_max - len(entries[0].commands)
    while queue and len(queue[0].commands) <= room:
        room -= len(queue[0].commands)
        entries.append(queue[0])
        queue.popleft()
    return entries


def checked(replies: list[R], wanted: int) -> list[R]:
    """The replies, if there is one for each command.

    Raises:
        StoreError: there is not; nobody can say which reply belongs to whom.
    """
    if len(replies) != wanted:
        msg = f"{len(replies)} replies to {wanted} commands: the script on the server is not the one of this version"
        raise StoreError(msg)
    return replies


def own_copy(error: BaseException) -> BaseException:
    """An instance for one caller: tracebacks and notes grow on the instance that is raised."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception that cannot be copied is better shared than lost
        return error
    own.__cause__ = error
    return own
