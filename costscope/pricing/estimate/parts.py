"""What a call may contain beside plain text: features of the provider, and objects to look into.

Of the tokens that do not follow from the text that is sent there are two kinds: those that the context window
still bounds (images, files, a conversation kept by the provider), and those of features that nothing in the call
bounds (tools the provider runs by itself, in as many rounds as it likes, each of them billed).
An object is data that is sent, machinery that is not, or opaque: its tokens are not known.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Collection, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Final

import msgspec

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
"""Names of settings that `server_state` and `unbounded_features` look at; a call without any of them, whose `prompt`
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


def server_state(settings: Mapping[str, object]) -> Iterator[str]:
    """Name the settings that bring in text which the provider keeps: earlier turns, caches, stored prompts."""
    for name in _KEPT_BY_PROVIDER:
        if is_set(settings.get(name)):
            yield name
    conversation = settings.get("conversation")
    named = isinstance(conversation, str) and conversation.startswith("conv_")
    if named or _field(conversation, "id") is not None:
        yield "conversation"
    if _field(settings.get("prompt"), "id") is not None:
        yield "prompt (stored)"


def unbounded_features(settings: Mapping[str, object]) -> Iterator[str]:
    """Name the features that nothing in the call bounds."""
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
    """Tell if a value is set: not None, not empty, not an SDK's marker of an argument left out."""
    return bool(value) and type(value).__name__ not in _NOT_SET


def _field(source: object, name: str) -> object:
    if source is None or isinstance(source, str):
        return None
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


_PARAMETER_TOKENS: Final = 64
"""Tokens for one parameter in the JSON schema that an SDK makes of a function given as a tool."""
_MACHINERY: Final = ("close", "aclose", "__enter__", "__aenter__", "acquire", "addHandler")
"""Clients, connections, locks and loggers have one of these; messages have none."""


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """An object without data to look into."""

    tokens: int = 0
    reason: str = ""
    """Why its tokens cannot be bounded; empty when it has none to speak of."""


Data = str | Mapping[object, object] | list[object] | Opaque
"""Text, a mapping of fields, a list of items, or an object without data to look into."""


def unfold(value: object) -> Data:
    """Return the data in an object: what a provider would be sent of it."""
    for kinds, read in _KINDS:
        if isinstance(value, kinds):
            return read(value)
    fields = _declared_fields(value)
    return _instance_data(value) if fields is None else fields


def _declared_fields(value: object) -> Mapping[object, object] | None:
    """Return the fields that an object's class declares: pydantic models, dataclasses, msgspec structs."""
    fields: Mapping[str, object] | None = None
    if hasattr(type(value), "__pydantic_fields__"):
        fields = {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
    elif dataclasses.is_dataclass(value):
        fields = {item.name: getattr(value, item.name, None) for item in dataclasses.fields(value)}
    elif isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
    if fields is None:
        return None
    # what is not set is not sent
    return {name: inner for name, inner in fields.items() if inner is not None}


def _instance_data(value: object) -> Data:
    cls = type(value)
    if cls.__module__.partition(".")[0] in _PRINTED:
        return str(value)
    if hasattr(cls, "read") or hasattr(cls, "tobytes") or hasattr(cls, "__array_interface__"):
        return Opaque(reason=f"a {cls.__name__} (a file, image or array)")
    if hasattr(cls, "__next__") or hasattr(cls, "__anext__"):
        return Opaque(reason=f"a {cls.__name__} (what it will yield is not known yet)")
    if any(hasattr(cls, name) for name in _MACHINERY):
        return Opaque()
    if isinstance(value, Collection):
        return list(value)
    return _attribute_data(value)


def _attribute_data(value: object) -> str | Mapping[object, object]:
    fields: dict[object, object] = {}
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                fields[name] = getattr(value, name)
    fields.update(getattr(value, "__dict__", {}))
    return fields or str(value)


_PRINTED: Final = frozenset({"datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo", "ipaddress"})
"""Modules whose objects are sent as what they print: dates, decimals, paths."""


def _function_data(value: FunctionType | MethodType | BuiltinFunctionType) -> Opaque:
    """Bound a function given as a tool: SDKs send its name, docstring and a schema of its parameters."""
    code = getattr(value, "__code__", None)
    parameters = 0 if code is None else code.co_argcount + code.co_kwonlyargcount
    doc = (value.__doc__ or "").encode("utf-8", "surrogatepass")
    return Opaque(len(doc) + len(value.__name__) + _PARAMETER_TOKENS * (1 + parameters))


def _schema_data(value: type) -> Mapping[object, object] | Opaque:
    """Return what is sent of a class given as a response format: pydantic models go as their JSON schema."""
    make = getattr(value, "model_json_schema", None)
    if make is None:
        return Opaque(_PARAMETER_TOKENS * (1 + len(getattr(value, "__annotations__", ()))))
    try:
        schema = make()
    except Exception:  # noqa: BLE001 - a model without a JSON schema is no response format either
        return Opaque()
    return schema if isinstance(schema, Mapping) else Opaque()


_KINDS: Final[tuple[tuple[type | tuple[type, ...], Callable[..., Data]], ...]] = (
    (str, str.__str__),  # an enum of texts is its text
    (Mapping, lambda value: value),
    ((list, tuple, set, frozenset), list),
    (enum.Enum, lambda value: str(value.value)),
    (type, _schema_data),
    ((FunctionType, MethodType, BuiltinFunctionType), _function_data),
    (ModuleType, lambda _: Opaque()),
)
