"""Books that remember who was paced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costscope.board import Pace
from costscope_memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costscope.board import Answer, Op

__all__ = ["Paced"]


class Paced(MemoryStore):
    """Remembers every place in a line that was asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.paces: list[Pace] = []

    def tell(self, ops: Sequence[Op]) -> list[Answer]:
        """As ever."""
        self.paces += [op for op in ops if isinstance(op, Pace)]
        return super().tell(ops)
