"""Telling whoever wants to know of holds that a store presumes lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costscope.ledger import LostHold

__all__ = ["LostListeners"]

log = logging.getLogger("costscope")


class LostListeners:
    """The callbacks of one store. Single steps of a dict, so it takes no lock."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[Sequence[LostHold]], object]] = {}

    def add(self, listener: Callable[[Sequence[LostHold]], object]) -> Callable[[], None]:
        """Tell this one from now on; what is returned ends that."""
        key = object()
        self._listeners[key] = listener

        def remove() -> None:
            self._listeners.pop(key, None)

        return remove

    def tell(self, lost: Sequence[LostHold]) -> None:
        """These holds are presumed lost. What a listener raises is logged: the books are right in any case."""
        for listener in tuple(self._listeners.values()):
            try:
                listener(lost)
            except Exception:
                log.exception("telling of %d lost holds failed", len(lost))
