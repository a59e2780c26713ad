"""What a call may contain whose tokens do not follow from the text that is sent.

Two kinds: parts that the context window still bounds (images, files, a conversation kept by the provider),
and features that nothing in the call bounds (tools the provider runs by itself, in as many rounds as it
likes, each of them billed).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["FEATURES", "may_be_media", "media_part", "open_ended", "server_state"]

_MEDIA_TYPES: Final = frozenset(
    {
        "image_url",
        "input_image",
        "image",
        "input_audio",
        "audio",
        "video",
        "video_url",
        "input_video",
        "file",
        "input_file",
        "document",
        "media",
        "container_upload",
        "item_reference",
        "computer_screenshot",
    }
)
_GEMINI_PARTS: Final = ("inline_data", "inlineData", "file_data", "fileData")

_TELLING: Final = frozenset({"type", *_GEMINI_PARTS})

_KEPT_BY_PROVIDER: Final = ("previous_response_id", "cached_content", "cachedContent", "container")
_OPEN_ENDED: Final = (
    "mcp_servers",
    "web_search_options",
    "plugins",
    "context_management",
    "fallbacks",
    "inference_geo",
)
FEATURES: Final = frozenset({*_KEPT_BY_PROVIDER, *_OPEN_ENDED, "conversation", "models", "tools"})
"""Names of settings that `server_state` and `open_ended` look at; a call without any of them, whose `prompt`
(if it has one) is plain text, has neither."""
_NOT_SET: Final = ("NotGiven", "Omit")
"""Classes of the SDKs' markers for an argument that was left out."""

_CLIENT_TOOLS: Final = (
    "function",
    "custom",
    "bash_",
    "text_editor_",
    "memory_",
    "computer_",
    "apply_patch",
    "local_shell",
)
_GEMINI_TOOLS: Final = frozenset(
    {
        "google_search",
        "google_search_retrieval",
        "google_maps",
        "code_execution",
        "url_context",
        "file_search",
        "computer_use",
        "enterprise_web_search",
        "retrieval",
        "mcp_servers",
    }
)


def may_be_media(part: Mapping[object, object]) -> bool:
    """False, at once, for a mapping that `media_part` need not look at: an ordinary message."""
    return not _TELLING.isdisjoint(part)


def media_part(part: Mapping[object, object]) -> str | None:
    """What `part` of a message is, if it is no text; None for text and everything else."""
    kind = part.get("type")
    if kind is None:
        return next((name for name in _GEMINI_PARTS if part.get(name) is not None), None)
    if not isinstance(kind, str) or kind not in _MEDIA_TYPES:
        return None
    if kind == "document":
        source = part.get("source")
        form = source.get("type") if isinstance(source, Mapping) else getattr(source, "type", None)
        if form in {"text", "content"}:
            return None
    return kind


def server_state(settings: Mapping[str, object]) -> Iterator[str]:
    """Names of settings that bring in text which the provider keeps: earlier turns, caches, stored prompts."""
    for name in _KEPT_BY_PROVIDER:
        if is_set(settings.get(name)):
            yield name
    conversation = settings.get("conversation")
    named = isinstance(conversation, str) and conversation.startswith("conv_")
    if named or _field(conversation, "id") is not None:
        yield "conversation"
    if _field(settings.get("prompt"), "id") is not None:
        yield "prompt (stored)"


def open_ended(settings: Mapping[str, object]) -> Iterator[str]:
    """Names of features that nothing in the call bounds."""
    for name in _OPEN_ENDED:
        if name in settings and is_set(settings[name]) and settings[name] != "global":
            yield name
    if isinstance(settings.get("models"), list | tuple):
        yield "models (another model may answer)"
    tools = settings.get("tools")
    for tool in tools if isinstance(tools, list | tuple) else ():
        kind = _field(tool, "type")
        if isinstance(kind, str):
            if not kind.startswith(_CLIENT_TOOLS):
                yield f"the tool {kind}"
        else:
            yield from (f"the tool {name}" for name in _GEMINI_TOOLS if _field(tool, name) is not None)


def is_set(value: object) -> bool:
    """False for None, empty values, and the SDKs' markers of an argument left out."""
    return bool(value) and type(value).__name__ not in _NOT_SET


def _field(source: object, name: str) -> object:
    if source is None or isinstance(source, str):
        return None
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
