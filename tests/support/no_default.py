"""A process in which no runtime has been made the default one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from costscope.scope.default_runtime import default

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["no_default_runtime"]


@contextmanager
def no_default_runtime() -> Iterator[None]:
    """Until the end of the block, as if there had been none; one that was made meanwhile is closed."""
    before = default.replace(None)
    try:
        yield
    finally:
        made = default.replace(before)
        if made is not None:
            made.close()
