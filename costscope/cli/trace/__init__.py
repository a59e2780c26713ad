"""Token counts of real requests: one hour of a code service at Azure (see README.md for source and licence)."""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib.resources import files
from typing import Final, NamedTuple

__all__ = ["TracedCall", "load_trace"]

_FILE: Final = "AzureLLMInferenceTrace_code.csv"


class TracedCall(NamedTuple):
    """The size of one request, in tokens of the service's own tokenizer."""

    context_tokens: int
    generated_tokens: int


@lru_cache(maxsize=1)
def load_trace() -> tuple[TracedCall, ...]:
    """All 8,819 requests in the order they arrived; read from the package once, when first asked for."""
    text = (files(__package__) / _FILE).read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(TracedCall(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows)
