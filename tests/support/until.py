"""Waiting for something that sends no word."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

__all__ = ["until"]


def until(happens: Callable[[], T], within_s: float = 20.0) -> T:
    """Ask again and again until the answer is true; what it was."""
    deadline = time.monotonic() + within_s
    while not (answer := happens()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.002)
    return answer
