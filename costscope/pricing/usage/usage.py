"""`Usage`: what one call used, in one shape whichever provider said it."""

from __future__ import annotations

from typing import Final

import msgspec

from costscope.errors import InvalidUsage
from costscope.ledger.meters import MAX_AMOUNT

__all__ = ["MAX_TOKENS", "Usage"]

MAX_TOKENS: Final = 1_000_000_000
"""More tokens than this in one call is a broken report: the largest context windows hold some millions."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What one call used.

    `input_tokens` and `output_tokens` are totals; the other token counts are parts of them, never in
    addition. Anthropic reports cached tokens beside the input, OpenAI inside it: `read_usage` adds or not.

    Raises:
        InvalidUsage: a count that is no int from 0 to 10^9, or a part that is larger than its total.
    """

    input_tokens: int = 0
    """All input tokens, those read from and written to a cache included."""
    output_tokens: int = 0
    """All output tokens, reasoning included."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """The part of `cache_write_tokens` that is kept for an hour (Anthropic bills it higher)."""
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    web_searches: int = 0
    """Searches run by the provider inside the call, where it counts them (Anthropic `server_tool_use`)."""
    model: str | None = None
    """The model that answered, as the response names it."""
    provider: str | None = None
    tier: str | None = None
    """The service tier that was really used, as the response says: `default`, `batch`, `priority`, `flex`."""
    cost_nano: int | None = None
    """What the provider or gateway says it billed, in nano-units: OpenRouter `usage.cost`, LiteLLM `response_cost`."""

    def __post_init__(self) -> None:
        counts = (
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.cache_write_1h_tokens,
            self.reasoning_tokens,
            self.input_audio_tokens,
            self.output_audio_tokens,
            self.web_searches,
        )
        for value in counts:
            if type(value) is not int or not 0 <= value <= MAX_TOKENS:
                name = _COUNTS[[item is value for item in counts].index(True)]
                msg = f"usage: {name} is {_shown(value)}; expected an int from 0 to {MAX_TOKENS}"
                raise InvalidUsage(msg)
        inputs, outputs, read, write, hour, reasoning, audio_in, audio_out, _ = counts
        if hour > write or reasoning > outputs or audio_in > inputs or audio_out > outputs:
            self._refuse_parts()
        if read + write > inputs:
            msg = (
                f"usage: cache_read_tokens ({read}) and cache_write_tokens ({write}) exceed input_tokens "
                f"({inputs}), which includes both"
            )
            raise InvalidUsage(msg)
        cost = self.cost_nano
        if cost is not None and (type(cost) is not int or not 0 <= cost <= MAX_AMOUNT):
            msg = f"usage: cost_nano is {_shown(cost)}; expected an int from 0 to {MAX_AMOUNT} nano-units"
            raise InvalidUsage(msg)

    def _refuse_parts(self) -> None:
        for part, total in _PARTS:
            has, most = getattr(self, part), getattr(self, total)
            if has > most:
                msg = f"usage: {part} ({has}) is larger than {total} ({most}), which is the total and includes it"
                raise InvalidUsage(msg)

    @property
    def tokens(self) -> int:
        """Input and output together: what the meter `tokens` counts."""
        return self.input_tokens + self.output_tokens


_COUNTS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "web_searches",
)

_PARTS: Final = (
    ("cache_write_1h_tokens", "cache_write_tokens"),
    ("reasoning_tokens", "output_tokens"),
    ("input_audio_tokens", "input_tokens"),
    ("output_audio_tokens", "output_tokens"),
)


_SHOWN_BITS: Final = 200


def _shown(value: object) -> str:
    # repr of an int beyond 4300 digits raises; of an object it may be a page long
    huge = isinstance(value, int) and value.bit_length() > _SHOWN_BITS
    return "a huge int" if huge else f"{value!r:.60}"
