"""Usage from what a call returned, and from what a user's `usage=` function gave."""

from __future__ import annotations

from typing import Final

import msgspec

from costscope.errors import InvalidAmount, InvalidUsage
from costscope.pricing.money import MoneyLike, to_nano
from costscope.pricing.usage.shapes import Fields, fields_of, parse_usage, text
from costscope.pricing.usage.usage import Usage

__all__ = ["coerce_usage", "read_usage", "with_source"]

_OPAQUE: Final = (str, bytes, bytearray, int, float, complex, list, tuple, set, frozenset)
_NO_FIELDS: Final = fields_of(None)
_USAGE_FIELDS: Final = ("usage", "usage_metadata", "usageMetadata")
_TIERS: Final = ("service_tier", "serviceTier", "traffic_type", "trafficType")


def read_usage(result: object) -> Usage | None:
    """The usage in a result: OpenAI chat and responses, Anthropic, LiteLLM, Gemini, LangChain, Bedrock.

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
    for name in _USAGE_FIELDS:
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
    """The usage that a user's own `usage=` function returned.

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


def with_source(usage: Usage, reported: Fields, result: Fields, hidden: Fields = _NO_FIELDS) -> Usage:
    """`usage` with the model, provider, service tier and cost that the result names."""
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
        # gateways compute in floats: 1e-07 is 1e-07, whatever the text form
        return to_nano(cost, what="usage: cost")
    except InvalidAmount as error:
        raise InvalidUsage(str(error)) from error
