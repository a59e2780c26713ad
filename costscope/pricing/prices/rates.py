"""Rates per token in exact integers, and the dearest of them: the arithmetic of a price, and nothing else."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from math import ceil, lcm
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import ModelUnpriced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.pricing.usage import Usage

__all__ = ["RateBand", "RateTable"]

_TEXT_INPUTS: Final = ("input", "cache_read", "cache_write", "cache_write_1h")


class RateBand(msgspec.Struct, frozen=True, gc=False):
    """Rates that hold between two context sizes. Each is in nano-units per token, times `scale`."""

    scale: int
    input: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    input_audio: int
    cache_audio: int
    output: int | None
    """None: the model has no price for output, so it must not have any (an embedding model)."""
    reasoning: int
    output_audio: int
    dearest_text: tuple[int, int]
    """The dearest (input, output) rates of text, in whole nano-units per token, rounded up."""
    dearest_audio: tuple[int, int]
    """The same for a call that may have audio in it."""

    @classmethod
    def of(cls, rates: Mapping[str, Fraction]) -> RateBand:
        """A band from rates by name, in nano-units per token.

        A part without a rate of its own has that of what it is part of, as in the providers' price lists:
        cached input is input, an hour-long cache write is a cache write, reasoning and audio are output.

        Args:
            rates: `input`, and any of the other field names.
        """
        plain = rates["input"]
        output = rates.get("output")
        read, write = rates.get("cache_read", plain), rates.get("cache_write", plain)
        exact = {
            "input": plain,
            "cache_read": read,
            "cache_write": write,
            "cache_write_1h": rates.get("cache_write_1h", write),
            "input_audio": rates.get("input_audio", plain),
            "cache_audio": max(read, rates.get("cache_audio", read)),
            "output": output or Fraction(0),
            "reasoning": rates.get("reasoning", output or Fraction(0)),
            "output_audio": rates.get("output_audio", output or Fraction(0)),
        }
        scale = lcm(*(rate.denominator for rate in exact.values()))
        scaled = {name: int(rate * scale) for name, rate in exact.items()}
        text = max(exact[name] for name in _TEXT_INPUTS), max(exact["output"], exact["reasoning"])
        audio = max(text[0], exact["input_audio"], exact["cache_audio"]), max(text[1], exact["output_audio"])
        return cls(
            scale=scale,
            input=scaled["input"],
            cache_read=scaled["cache_read"],
            cache_write=scaled["cache_write"],
            cache_write_1h=scaled["cache_write_1h"],
            input_audio=scaled["input_audio"],
            cache_audio=scaled["cache_audio"],
            output=None if output is None else scaled["output"],
            reasoning=scaled["reasoning"],
            output_audio=scaled["output_audio"],
            dearest_text=(ceil(text[0]), ceil(text[1])),
            dearest_audio=(ceil(audio[0]), ceil(audio[1])),
        )

    def cost(self, usage: Usage) -> int:
        """What the tokens of `usage` cost in nano-units, rounded up once, at the end."""
        inputs, outputs = usage.input_tokens, usage.output_tokens
        read, written = usage.cache_read_tokens, usage.cache_write_tokens
        hour, reasoning = usage.cache_write_1h_tokens, usage.reasoning_tokens
        # how much of the audio came from the cache is not said: it is charged as the dearer way it may be
        audio_in = min(usage.input_audio_tokens, inputs - read - written)
        audio_read = min(usage.input_audio_tokens, read)
        audio_out = min(usage.output_audio_tokens, outputs - reasoning)
        output = self.output
        if output is None:
            if outputs:
                msg = (
                    f"{outputs} output tokens of a model whose price list has none for output; "
                    f"unknown is never free: give the model an `output` price under `prices:`"
                )
                raise ModelUnpriced(msg)
            output = 0
        total = (
            (inputs - read - written - audio_in) * self.input
            + (read - audio_read) * self.cache_read
            + audio_read * self.cache_audio
            + (written - hour) * self.cache_write
            + hour * self.cache_write_1h
            + audio_in * self.input_audio
            + (outputs - reasoning - audio_out) * output
            + reasoning * self.reasoning
            + audio_out * self.output_audio
        )
        return -(-total // self.scale)


class RateTable:
    """Bands by context size. They are cliffs: all tokens of a call have the rates of the one band it is in."""

    __slots__ = ("_bands", "_dearest_audio", "_dearest_text", "_flat", "_starts")

    def __init__(self, bands: Mapping[int, Mapping[str, Fraction]]) -> None:
        """Build the table.

        Args:
            bands: rates by where their band starts: they hold for calls of MORE input tokens than that. The
                first band starts at -1, so that it holds for a call of none.
        """
        self._starts = tuple(sorted(bands))
        self._bands = tuple(RateBand.of(bands[start]) for start in self._starts)
        self._flat = self._bands[0] if len(self._bands) == 1 else None
        # a large call may turn out smaller, so the rates of every lower band count as well
        self._dearest_text = tuple(accumulate((band.dearest_text for band in self._bands), _dearer))
        self._dearest_audio = tuple(accumulate((band.dearest_audio for band in self._bands), _dearer))

    def cost(self, usage: Usage) -> int:
        """The cost of `usage` in nano-units, in the band its input tokens reach."""
        band = self._flat
        if band is None:
            band = self._bands[self._index(usage.input_tokens)]
        return band.cost(usage)

    def dearest(self, input_tokens: int, *, audio: bool = False) -> tuple[int, int]:
        """The dearest (input, output) rates, in whole nano-units per token, that a call this large can reach."""
        reached = self._dearest_audio if audio else self._dearest_text
        return reached[0 if self._flat is not None else self._index(input_tokens)]

    @property
    def last_start(self) -> int:
        """Where the highest band starts, in input tokens; -1 when there is only one."""
        return self._starts[-1]

    @property
    def has_output(self) -> bool:
        """True when output has a price."""
        return self._bands[0].output is not None

    def _index(self, input_tokens: int) -> int:
        index = len(self._starts) - 1
        while index and input_tokens <= self._starts[index]:
            index -= 1
        return index


def _dearer(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return max(one[0], other[0]), max(one[1], other[1])
