"""What the provider is told to do with a request, and what it charges for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["Answer", "Charge", "Gate", "plan"]


class Gate:
    """Holds the provider up: it sets `reached` and goes on after `open()`."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def pass_through(self) -> None:
        self.reached.set()
        self._opened.wait()


@dataclass(frozen=True)
class Answer:
    """How one request is answered. Tokens as providers bill them: cached input is part of the input."""

    output_tokens: int = 20
    """Per choice, when the request's own limit is not lower."""
    input_tokens: int | None = None
    """None: as many as the text of the request has UTF-8 bytes, the most that a byte-level tokenizer can make."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    """Part of the output tokens."""
    status: int = 200
    """400 or higher: an error in the provider's own shape, and no charge."""
    pieces: int = 4
    """In how many deltas the text is streamed."""
    break_after: int | None = None
    """The provider drops the connection after so many deltas (0: before the first byte of the response)."""
    gate: Gate | None = None
    gate_after: int = 0
    """Where the gate stands: before the response (0) or after so many deltas."""
    usage: bool = True
    """False: the response says nothing about usage."""


@dataclass
class Charge:
    """What the provider charges for one request."""

    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    choices: int = 1
    cut_at_limit: bool = False
    planned_output: int = field(init=False)

    def __post_init__(self) -> None:
        self.planned_output = self.output_tokens

    def broken_off(self, sent: int, pieces: int) -> None:
        """The provider itself broke off after `sent` of `pieces`: it charges what it had generated."""
        self.output_tokens = -(-self.planned_output * sent // pieces)
        self.reasoning_tokens = min(self.reasoning_tokens, self.output_tokens)


def plan(answer: Answer, *, model: str, text: list[str], output_limit: int | None, choices: int) -> Charge:
    """What an answered request will be charged: never more output than the request allowed."""
    counted = sum(len(part.encode()) for part in text)
    per_choice = answer.output_tokens if output_limit is None else min(answer.output_tokens, output_limit)
    return Charge(
        model=model,
        input_tokens=counted if answer.input_tokens is None else answer.input_tokens,
        output_tokens=per_choice * choices,
        cache_read_tokens=answer.cache_read_tokens,
        cache_write_tokens=answer.cache_write_tokens,
        reasoning_tokens=min(answer.reasoning_tokens, per_choice) * choices,
        choices=choices,
        cut_at_limit=per_choice < answer.output_tokens,
    )
