"""`ModelPrice`: what the tokens of one model cost at one moment, in every service tier, in exact integers."""

from __future__ import annotations

from copy import copy
from fractions import Fraction
from itertools import accumulate
from math import ceil, lcm
from typing import TYPE_CHECKING, Final

import msgspec

from costscope.errors import ModelUnpriced
from costscope.pricing.prices.tiers import STANDARD, asked_tiers, is_discount, is_standard, plain_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from costscope.pricing.usage.usage_fields import Usage

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
        """Build a band from rates by name, in nano-units per token.

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
        scaled_output = scaled.pop("output")
        return cls(
            scale,
            **scaled,
            output=None if output is None else scaled_output,
            dearest_text=(ceil(text[0]), ceil(text[1])),
            dearest_audio=(ceil(audio[0]), ceil(audio[1])),
        )

    def cost(self, usage: Usage) -> int:
        """Price the tokens of `usage`, in nano-units, rounded up once, at the end."""
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

    __slots__ = ("_bands", "_dearest_audio", "_dearest_text", "_flat", "_starts", "has_output", "last_start")

    def __init__(self, bands: Mapping[int, Mapping[str, Fraction]]) -> None:
        """Build the table.

        Args:
            bands: rates by where their band starts: they hold for calls of MORE input tokens than that. The
                first band starts at -1, so that it holds for a call of none.
        """
        self._starts = tuple(sorted(bands))
        self._bands = tuple(RateBand.of(bands[start]) for start in self._starts)
        self._flat = self._bands[0] if len(self._bands) == 1 else None
        self.last_start = self._starts[-1]
        """Where the highest band starts, in input tokens; -1 when there is only one."""
        self.has_output = self._bands[0].output is not None
        """False when output has no price."""
        # a large call may turn out smaller, so the rates of every lower band count as well
        self._dearest_text = tuple(accumulate((band.dearest_text for band in self._bands), _larger_of))
        self._dearest_audio = tuple(accumulate((band.dearest_audio for band in self._bands), _larger_of))

    def cost(self, usage: Usage) -> int:
        """Price `usage` in the band its input tokens reach, in nano-units."""
        band = self._flat
        if band is None:
            band = self._bands[self._index(usage.input_tokens)]
        return band.cost(usage)

    def dearest_rates(self, input_tokens: int, *, audio: bool = False) -> tuple[int, int]:
        """Return the dearest (input, output) rates, in whole nano-units per token, that a call this large can reach."""
        reached = self._dearest_audio if audio else self._dearest_text
        return reached[0 if self._flat is not None else self._index(input_tokens)]

    def _index(self, input_tokens: int) -> int:
        index = len(self._starts) - 1
        while index and input_tokens <= self._starts[index]:
            index -= 1
        return index


def _larger_of(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return max(one[0], other[0]), max(one[1], other[1])


class ModelPrice:
    """What the tokens of one model cost. Immutable, exact, in nano-units of the currency.

    Its attributes are the arguments, and `has_output`: False for a model without a price for output (embeddings), which
    must not make any.
    """

    def __init__(
        self,
        model: str,
        tables: Mapping[str, RateTable],
        *,
        source: str,
        provider: str | None = None,
        ambient: Collection[str] = (),
        web_search: Fraction | None = None,
        per_call_nano: int = 0,
        context_window: int | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        """Build a price.

        Args:
            model: the name it is found by.
            tables: rates by service tier; `standard` must be there.
            source: `policy` or `call` for the user's own, `genai-prices` for the bundled table.
            provider: id of the provider whose price list it is from, or None for the user's own.
            ambient: tiers that the provider may choose without being asked in the call (OpenAI: a project
                setting decides when `service_tier` is left out).
            web_search: nano-units for one search that the provider runs inside a call.
            per_call_nano: a fee for each request, on top of the tokens.
            context_window: the most input tokens the provider accepts, when known.
            max_output_tokens: the most output tokens the model makes, when known.
        """
        self.model = model
        self.provider = provider
        self.source = source
        self.per_call_nano = per_call_nano
        self.context_window = context_window
        self.max_output_tokens = max_output_tokens
        self._tables = dict(tables)
        self._standard = self._tables[STANDARD]
        self._usual = (self._standard, *(self._tables[tier] for tier in ambient))
        flat = all(table.last_start < 0 for table in self._usual)
        self._constant = (
            tuple(_dearest_of(self._usual, 0, audio) for audio in (False, True)) if flat else None
        )
        self._web_search = web_search
        self.has_output = self._standard.has_output

    def __repr__(self) -> str:
        rate_in, rate_out = self.dearest_rates(0, tier=STANDARD)
        return (
            f"ModelPrice({self.model!r}, source={self.source!r}, dearest={rate_in}/{rate_out} nano per token)"
        )

    def cost(self, usage: Usage) -> int:
        """Price `usage`, in nano-units, rounded up.

        An amount that the provider sent itself is taken as it is, unless the price is the user's own.

        Raises:
            ModelUnpriced: the usage has a part without a price: a service tier, output, a web search.
        """
        if usage.cost_nano is not None and self.source == "genai-prices":
            return usage.cost_nano
        tier = usage.tier
        table = self._standard if tier is None else self._table_of(tier)
        cost = table.cost(usage) + self.per_call_nano
        return cost + self._search_fees(usage.web_searches) if usage.web_searches else cost

    def dearest_rates(
        self, input_tokens: int, *, tier: str | None = None, audio: bool = False
    ) -> tuple[int, int]:
        """Return the dearest rates a call can be billed at, in whole nano-units per (input, output) token.

        The maximum over plain and cached tokens, the context bands that `input_tokens` reaches, and the
        service tiers the provider may use.

        Args:
            input_tokens: an upper bound of the call's input.
            tier: the service tier the call states; None when it does not say, and any may be used.
            audio: the call may have audio in it, which has rates of its own.

        Raises:
            ModelUnpriced: the call states a dearer tier that has no price.
        """
        asked = None if tier is None else asked_tiers(tier)
        if asked is None:
            if self._constant is not None:
                return self._constant[audio]
            return _dearest_of(self._usual, input_tokens, audio)
        if len(asked) == 1:
            return self._table_of(asked[0]).dearest_rates(input_tokens, audio=audio)
        tables = [self._table_of(asked[1])]
        tables += [self._tables[other] for other in asked if other in self._tables]
        return _dearest_of(tables, input_tokens, audio)

    def ceiling(
        self, input_tokens: int, output_tokens: int, *, tier: str | None = None, audio: bool = False
    ) -> int:
        """Return the most that a call of at most so many tokens can cost, in nano-units."""
        rate_in, rate_out = self.dearest_rates(input_tokens, tier=tier, audio=audio)
        return input_tokens * rate_in + output_tokens * rate_out + self.per_call_nano

    def output_step(self, input_tokens: int, *, tier: str | None = None, audio: bool = False) -> int | None:
        """Return what one more output token can cost, in nano-units."""
        return self.dearest_rates(input_tokens, tier=tier, audio=audio)[1]

    def with_limits(self, context_window: int | None, max_output_tokens: int | None) -> ModelPrice:
        """Return the same price with the user's word on how large a call may be."""
        changed = copy(self)
        changed.context_window = context_window or self.context_window
        changed.max_output_tokens = max_output_tokens or self.max_output_tokens
        return changed

    @property
    def trusted_window(self) -> int | None:
        """The context window, unless the price list itself has bands above it: then the window is out of date."""
        window = self.context_window
        return None if window is None or self._standard.last_start >= window else window

    def _table_of(self, tier: str) -> RateTable:
        name = plain_name(tier)
        table = self._tables.get(name)
        if table is not None:
            return table
        if is_standard(name) or is_discount(name):
            return self._standard
        if name == "priority" and self.provider == "anthropic":
            return self._standard  # committed capacity, without a surcharge per token
        msg = (
            f"{self.model}: the service tier {tier!r} has no price (known: {', '.join(sorted(self._tables))}); "
            f"ask for service_tier='default', or price the tier under `prices:` (a model's `priority: 1.75`)"
        )
        raise ModelUnpriced(msg)

    def _search_fees(self, number: int) -> int:
        if self._web_search is None:
            msg = f"{self.model}: {number} web searches inside the call, and no price for one is known"
            raise ModelUnpriced(msg)
        return ceil(number * self._web_search)


def _dearest_of(tables: Iterable[RateTable], input_tokens: int, audio: bool) -> tuple[int, int]:
    rates = [table.dearest_rates(input_tokens, audio=audio) for table in tables]
    return max(rate for rate, _ in rates), max(rate for _, rate in rates)
