"""What a metered call is called in OpenTelemetry's conventions for generative AI.

The names as they stand in the conventions' own repository (2026-11). They are still in development, and other
instrumentation records the same calls under them: so they are written on demand only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from costscope.telemetry.sums import CallKind
    from costscope.usage import Usage

__all__ = ["operation_of", "request_attributes", "usage_attributes"]

_PROVIDERS: Final = {
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "x-ai": "x_ai",
}
"""The price table's providers whose names the conventions spell otherwise."""


def operation_of(kind: CallKind, provider: str | None, *, has_output: bool) -> str:
    """`gen_ai.operation.name`: a model without a price for output makes embeddings."""
    if kind == "tool":
        return "execute_tool"
    if not has_output:
        return "embeddings"
    return "generate_content" if provider == "google" else "chat"


def request_attributes(kind: CallKind, name: str, provider: str | None, operation: str) -> dict[str, str]:
    """What is known before the call. Without a provider in the price list there is no `gen_ai.provider.name`."""
    found = {"gen_ai.operation.name": operation}
    if kind == "tool":
        return {**found, "gen_ai.tool.name": name}
    if provider is not None:
        found["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
    return {**found, "gen_ai.request.model": name}


def usage_attributes(usage: Usage) -> dict[str, str | int]:
    """What is known after the call; input and output are totals, as in the conventions."""
    found: dict[str, str | int] = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if usage.model is not None:
        found["gen_ai.response.model"] = usage.model
    parts = {
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
    return found | {name: tokens for name, tokens in parts.items() if tokens}
