"""Usage in a result, or in what a user's `usage=` function gave: one function per shape; each returns our `Usage`.

Sources: the response types in the `openai`, `anthropic` and `google-genai` SDKs, LiteLLM's `Usage`,
LangChain's `UsageMetadata` and Bedrock's Converse API. The shapes are told apart by their field names.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from costscope.errors import InvalidUsage
from costscope.pricing.usage.usage_fields import (
    Fields,
    Usage,
    count,
    fields_of,
    first_count,
    text,
    with_source,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_OPAQUE: Final = (str, bytes, bytearray, int, float, complex, list, tuple, set, frozenset)
USAGE_FIELDS: Final = ("usage", "usage_metadata", "usageMetadata")


def read_usage(result: object) -> Usage | None:
    """Read the usage in a result: OpenAI chat and responses, Anthropic, LiteLLM, Gemini, LangChain, Bedrock.

    Args:
        result: what the call returned: an SDK object, a dict of the decoded JSON, or a `Usage`.

    Returns:
        The usage, or None when the result carries none.

    Raises:
        InvalidUsage: there is usage, but it cannot be believed: negative, NaN, absurd, contradictory.
    """
    if isinstance(result, Usage):
        return result
    if result is None or isinstance(result, _OPAQUE):
        return None
    fields = fields_of(result)
    for name in USAGE_FIELDS:
        found = fields(name)
        if found is None or callable(found) or isinstance(found, _OPAQUE):
            continue
        if isinstance(found, Usage):
            return found
        reported = fields_of(found)
        parsed = parse_usage(reported)
        hidden = getattr(result, "_hidden_params", None)  # LiteLLM keeps its own computed cost there
        return None if parsed is None else with_source(parsed, reported, fields, fields_of(hidden))
    return None


def coerce_usage(value: object) -> Usage | None:
    """Read the usage that a user's own `usage=` function returned.

    Args:
        value: a `Usage`, a dict such as `{"input_tokens": 10, "output_tokens": 5}`, an SDK's usage object or
            whole result, an `(input, output)` tuple, or None for "not known".

    Raises:
        InvalidUsage: anything else, or numbers that cannot be believed.
    """
    if value is None or isinstance(value, Usage):
        return value
    if isinstance(value, tuple) and len(value) == 2:  # noqa: PLR2004 - a pair is what it says
        return Usage(*value)
    if not isinstance(value, _OPAQUE):
        found = read_usage(value)
        if found is not None:
            return found
        fields = fields_of(value)
        parsed = parse_usage(fields)
        if parsed is not None:
            return with_source(parsed, fields, fields)
    msg = (
        f"usage: {value!r:.80} is no usage; return a costscope.Usage, a dict with input_tokens and output_tokens, "
        f"an (input, output) tuple, a provider's usage object, or None"
    )
    raise InvalidUsage(msg)


def parse_usage(usage: Fields) -> Usage | None:
    """Read the tokens of a usage object of any known shape; None if it has none of the known fields.

    Raises:
        InvalidUsage: a field that cannot be believed, or one that is missing where the shape needs it.
    """
    for marker, parse in _SHAPES:
        if usage(marker) is not None:
            return parse(usage)
    return None


def _parse_chat(usage: Fields) -> Usage:
    """Read OpenAI chat completions and what copies it; LiteLLM adds Anthropic's cache fields, counted INSIDE."""
    prompt, completion = _totals(usage, "prompt_tokens", "completion_tokens")
    details, outputs = usage("prompt_tokens_details"), fields_of(usage("completion_tokens_details"))
    read = first_count(usage, "cache_read_input_tokens", "prompt_cache_hit_tokens")
    write = first_count(usage, "cache_creation_input_tokens")
    reasoning, audio_out = first_count(outputs, "reasoning_tokens"), first_count(outputs, "audio_tokens")
    if details is None:
        return Usage(prompt, completion, read, write, 0, reasoning, 0, audio_out)
    inputs = fields_of(details)
    read = first_count(inputs, "cached_tokens") or read
    write = first_count(inputs, "cache_write_tokens", "cache_creation_tokens") or write
    # OpenAI calls it "unadjusted": it may overlap with what was read
    write = min(write, max(0, prompt - read))
    hour = first_count(fields_of(inputs("cache_creation_token_details")), "ephemeral_1h_input_tokens")
    return Usage(
        prompt,
        completion,
        read,
        write,
        min(hour, write),
        reasoning,
        first_count(inputs, "audio_tokens"),
        audio_out,
    )


def _parse_messages(usage: Fields) -> Usage:
    """Read OpenAI responses, LangChain, our own field names (all inclusive), Anthropic messages (exclusive)."""
    outputs = fields_of(usage("output_tokens_details") or usage("output_token_details"))
    if usage("cache_read_input_tokens") is not None or usage("cache_creation_input_tokens") is not None:
        return _parse_anthropic(usage, outputs)
    details = usage("input_tokens_details") or usage("input_token_details")
    inputs = fields_of(details)
    total_in, total_out = _totals(usage, "input_tokens", "output_tokens")
    read = first_count(inputs, "cached_tokens", "cache_read") or first_count(usage, "cache_read_tokens")
    write_1h = first_count(inputs, "ephemeral_1h_input_tokens") or first_count(usage, "cache_write_1h_tokens")
    write = max(
        first_count(inputs, "cache_write_tokens", "cache_creation")
        or first_count(usage, "cache_write_tokens"),
        write_1h + first_count(inputs, "ephemeral_5m_input_tokens"),
    )
    if details is not None:
        write = min(write, max(0, total_in - read))  # OpenAI's "unadjusted" count again
        write_1h = min(write_1h, write)
    return Usage(
        total_in,
        total_out,
        read,
        write,
        write_1h,
        first_count(outputs, "reasoning_tokens", "reasoning") or first_count(usage, "reasoning_tokens"),
        first_count(inputs, "audio_tokens", "audio") or first_count(usage, "input_audio_tokens"),
        first_count(outputs, "audio_tokens", "audio") or first_count(usage, "output_audio_tokens"),
        first_count(fields_of(usage("server_tool_use")), "web_search_requests"),
    )


def _parse_anthropic(usage: Fields, outputs: Fields) -> Usage:
    """Read Anthropic messages: input excludes what was cached, and compaction (a second, hidden request) is in no total."""
    uncached, output = _require_count(usage, "input_tokens"), _require_count(usage, "output_tokens")
    read = first_count(usage, "cache_read_input_tokens")
    write_1h = first_count(fields_of(usage("cache_creation")), "ephemeral_1h_input_tokens")
    write = max(first_count(usage, "cache_creation_input_tokens"), write_1h)
    iterations = usage("iterations")
    for step in map(fields_of, iterations if isinstance(iterations, list | tuple) else ()):
        kind = step("type")
        if kind == "advisor_message":
            msg = f"usage: an iteration was billed at another model's price, {step('model')!r:.60}"
            raise InvalidUsage(msg)
        if kind == "compaction":
            hidden = _parse_anthropic(step, fields_of(None))
            uncached += hidden.input_tokens - hidden.cache_read_tokens - hidden.cache_write_tokens
            output += hidden.output_tokens
            read += hidden.cache_read_tokens
            write += hidden.cache_write_tokens
            write_1h += hidden.cache_write_1h_tokens
    return Usage(
        uncached + read + write,
        output,
        read,
        write,
        write_1h,
        first_count(outputs, "thinking_tokens"),
        web_searches=first_count(fields_of(usage("server_tool_use")), "web_search_requests"),
    )


def _parse_gemini(usage: Fields, spell: Callable[[str], str] = str) -> Usage:
    """Read Gemini: results of server-side tools are more input, thoughts are more output; the total has all four."""

    def tokens(name: str) -> int:
        return first_count(usage, spell(name))

    total_in = tokens("prompt_token_count") + tokens("tool_use_prompt_token_count")
    answer, thinking = tokens("candidates_token_count"), tokens("thoughts_token_count")
    everything = count(usage, spell("total_token_count"))
    if everything is None:
        output = answer + thinking
    elif everything == total_in + answer >= total_in + thinking:
        output = answer  # some Vertex models count the thoughts among the candidates
    else:
        output = _output_within(everything, total_in, answer + thinking)
    per_modality = spell("token_count")
    return Usage(
        total_in,
        output,
        tokens("cached_content_token_count"),
        reasoning_tokens=thinking,
        input_audio_tokens=_audio_tokens(usage(spell("prompt_tokens_details")), per_modality),
        output_audio_tokens=_audio_tokens(usage(spell("candidates_tokens_details")), per_modality),
    )


def _parse_gemini_json(usage: Fields) -> Usage:
    return _parse_gemini(usage, _camel_case)


@cache
def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _parse_bedrock(usage: Fields) -> Usage:
    """Read Bedrock Converse: cached tokens stand beside the input, as at Anthropic."""
    read, write = first_count(usage, "cacheReadInputTokens"), first_count(usage, "cacheWriteInputTokens")
    return Usage(
        _require_count(usage, "inputTokens") + read + write,
        _require_count(usage, "outputTokens"),
        read,
        write,
    )


def _totals(usage: Fields, input_name: str, output_name: str) -> tuple[int, int]:
    """Return the input and output tokens of a usage with `total_tokens`, which may be left out.

    Raises:
        InvalidUsage: the output is in neither, or the total is less than its parts.
    """
    inputs, outputs = count(usage, input_name) or 0, count(usage, output_name)
    total = count(usage, "total_tokens")
    if total is None:
        if outputs is None:
            msg = f"usage: {output_name} is missing; without it the output cannot be charged (give 0 if there was none)"
            raise InvalidUsage(msg)
        return inputs, outputs
    outputs = outputs or 0
    return inputs, outputs if total == inputs + outputs else _output_within(total, inputs, outputs)


def _output_within(total: int, inputs: int, outputs: int) -> int:
    """Return the output that explains the total: xAI, for one, leaves reasoning out of `completion_tokens`."""
    if total < inputs + outputs:
        msg = f"usage: the total ({total}) is less than input ({inputs}) and output ({outputs}) together"
        raise InvalidUsage(msg)
    return total - inputs


def _require_count(usage: Fields, name: str) -> int:
    value = count(usage, name)
    if value is None:
        msg = f"usage: {name} is missing"
        raise InvalidUsage(msg)
    return value


def _audio_tokens(details: object, per_modality: str) -> int:
    if not isinstance(details, list | tuple):
        return 0
    return sum(
        first_count(part, per_modality)
        for part in map(fields_of, details)
        if text(part, "modality") == "AUDIO"
    )


_SHAPES: Final[tuple[tuple[str, Callable[[Fields], Usage]], ...]] = (
    ("prompt_tokens", _parse_chat),
    ("input_tokens", _parse_messages),
    ("prompt_token_count", _parse_gemini),
    ("promptTokenCount", _parse_gemini_json),
    ("inputTokens", _parse_bedrock),
    ("completion_tokens", _parse_chat),
    ("output_tokens", _parse_messages),
    ("total_token_count", _parse_gemini),
    ("totalTokenCount", _parse_gemini_json),
)
