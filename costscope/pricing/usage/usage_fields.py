"""`Usage`: what one call used, in one shape; and the fields of a provider's report it is read from.

Reports come as dicts, pydantic models and plain objects: all are read in the same way, field by field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from costscope.errors import InvalidAmount, InvalidUsage
from costscope.ledger.meters import MAX_AMOUNT
from costscope.pricing.money import MoneyLike, to_nano

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
        counts = msgspec.structs.astuple(self)[:_COUNTS]
        for value in counts:
            if type(value) is not int or not 0 <= value <= MAX_TOKENS:
                name = self.__struct_fields__[[item is value for item in counts].index(True)]
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


_COUNTS: Final = 9
"""So many fields come first that count something."""
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


_NOTHING: Final[dict[str, object]] = {}

Fields = Callable[[str], object]
"""Field name to value; None for a field that is absent."""


def fields_of(source: object) -> Fields:
    """Return the fields of a mapping or object; a None has no fields."""
    if type(source) is dict:
        return source.get
    if source is None:
        return _NOTHING.get
    if hasattr(type(source), "__pydantic_fields__"):
        # pydantic's own __getattr__ costs a microsecond for each field that is absent
        extra = getattr(source, "__pydantic_extra__", None)
        return {**source.__dict__, **extra}.get if extra else source.__dict__.get
    if isinstance(source, Mapping):
        return source.get
    return lambda name: _attribute_of(source, name)


def text(fields: Fields, name: str) -> str | None:
    """Read a field as text (an enum member by its value); None when it is absent or something else."""
    value = fields(name)
    if value is None or type(value) is str:
        return value or None
    value = getattr(value, "value", value)
    return value if isinstance(value, str) and value else None


def count(fields: Fields, name: str) -> int | None:
    """Read a field as a count; None when it is absent or null.

    Raises:
        InvalidUsage: a bool, NaN, text or another thing that counts nothing. Range is `Usage`'s business.
    """
    value = fields(name)
    if value is None or type(value) is int:
        return value
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)  # JSON from gateways in languages without integers
    msg = f"usage: {name} is {value!r:.60}, a {type(value).__name__}; expected a whole number"
    raise InvalidUsage(msg)


def first_count(fields: Fields, *names: str) -> int:
    """Read the first of the fields that is present and not zero, else 0."""
    for name in names:
        if fields(name):
            value = count(fields, name)
            if value:
                return value
    return 0


def _attribute_of(source: object, name: str) -> object:
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 - a result whose property raises says nothing; the call itself went well
        return None


_TIERS: Final = ("service_tier", "serviceTier", "traffic_type", "trafficType")


def with_source(usage: Usage, reported: Fields, result: Fields, hidden: Fields = _NOTHING.get) -> Usage:
    """Return `usage` with the model, provider, service tier and cost that the result names."""
    model = text(result, "model") or text(result, "model_version") or text(result, "modelVersion")
    provider = text(result, "provider") or text(hidden, "custom_llm_provider")
    tier, cost = _tier(reported, result), _cost(reported, hidden)
    if model is None and provider is None and tier is None and cost is None:
        return usage
    return msgspec.structs.replace(usage, model=model, provider=provider, tier=tier, cost_nano=cost)


def _tier(reported: Fields, result: Fields) -> str | None:
    if reported("speed") == "fast":  # Anthropic's fast mode is priced like a tier of its own
        return "fast"
    for source in (result, reported):
        for name in _TIERS:
            found = source(name)
            if found is None:
                continue
            tier = text(source, name) if isinstance(found, str) else text(fields_of(found), "type")
            if tier is not None:
                return tier.lower()
    return None


def _cost(reported: Fields, hidden: Fields) -> int | None:
    cost = reported("cost")
    if cost is not None and not isinstance(cost, str | int | float):
        cost = fields_of(cost)("total_cost")  # Perplexity itemises
    if cost is not None:
        if reported("is_byok") is True:
            # OpenRouter billed its fee only; the rest is on the user's own account at the provider
            upstream = fields_of(reported("cost_details"))("upstream_inference_cost")
            return None if upstream is None else _nano(cost) + _nano(upstream)
        return _nano(cost)
    computed = hidden("response_cost")
    # LiteLLM says 0 for a model it has no price for, and unknown is never free
    return _nano(computed) if computed else None


def _nano(cost: object) -> int:
    if not isinstance(cost, MoneyLike):
        msg = f"usage: cost is {cost!r:.60}; expected an amount"
        raise InvalidUsage(msg)
    try:
        # gateways compute in floats, and to_nano takes 1e-07 for what it is
        return to_nano(cost, what="usage: cost")
    except InvalidAmount as error:
        raise InvalidUsage(str(error)) from error
