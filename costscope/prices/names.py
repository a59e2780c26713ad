"""The forms in which people write a model's name, and the (provider, model) pairs each may mean.

`gpt-4o`, `openai/gpt-4o` (LiteLLM, OpenRouter), `bedrock/converse/us.anthropic.claude-...`,
`anthropic.claude-...` (Bedrock), `models/gemini-...`, `projects/.../models/...` (Vertex).
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["own_names", "readings"]

_ALIASES: Final = {
    "azure_openai": "azure",
    "azure_ai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "amazon_bedrock": "aws",
    "gemini": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "vertex_ai": "google",
    "vertex": "google",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "xai": "x-ai",
    "mistralai": "mistral",
    "voyage": "voyageai",
}
"""How LiteLLM, LangChain and others call a provider, to the id it has in genai-prices."""

_BEDROCK: Final = re.compile(
    r"(?:(?:us|us-gov|eu|apac|au|jp|ca|sa|me|global)\.)?"
    r"(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|openai|qwen|writer|stability)\.[a-z0-9]"
)
_VERTEX: Final = re.compile(r"(?:projects/[^/]+/.*/)?(?:publishers/[^/]+/)?models/([^/]+)")
_DATED: Final = re.compile(r"(.+)[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6})")

_FAMILIES: Final = (
    (re.compile(r"text-embedding-\d|text-embedding-ada|chatgpt-|codex-|omni-|computer-use-"), "openai"),
    (re.compile(r"voyage-"), "voyageai"),
    (re.compile(r"command-|embed-(?:english|multilingual|v\d)|rerank-"), "cohere"),
    (re.compile(r"sonar|pplx-"), "perplexity"),
)
"""Names that are one provider's own, and that genai-prices does not guess by itself."""


def readings(model: str, provider: str | None) -> list[tuple[str | None, str]]:
    """What `model` may mean, likeliest first: (provider id or None for "guess by the name", model).

    Args:
        model: the name as it was given.
        provider: the provider, when it is known, in any of its spellings.
    """
    name = model.strip().lower()
    vertex = _VERTEX.fullmatch(name)
    if vertex:
        return [(_provider_id(provider) or "google", vertex[1])]
    found: list[tuple[str | None, str]] = []
    prefix, slash, rest = name.partition("/")
    if provider is not None:
        known = _provider_id(provider)
        found.append((known, name))
        if slash and _provider_id(prefix) == known:
            found.append((known, rest))
        return found
    last = name.rpartition("/")[2]
    if _BEDROCK.match(last):
        return [("aws", last)]
    if slash:
        found += [(_provider_id(prefix), rest), (None, name)]
        return found
    found.append((None, name))
    found += [(owner, name) for family, owner in _FAMILIES if family.match(name)]
    return found


def own_names(model: str, provider: str | None) -> list[str]:
    """The names under which the user may have priced `model`: with its provider, without, without its date."""
    bare = model.rpartition("/")[2]
    names = [model, bare]
    if provider is not None:
        names.insert(0, f"{provider}/{model}")
    dated = _DATED.fullmatch(bare)
    if dated:
        names.append(dated[1])
    return names


def _provider_id(provider: str | None) -> str | None:
    if provider is None:
        return None
    name = provider.strip().lower()
    return _ALIASES.get(name, name)
