"""Words for what a user sees of a Python object: how it is called, what its members are, what its fields may hold.

Nothing here names a module, and annotations are left out: both may move. Where a struct's field is described, its type
is written out down to plain values, so that an inner struct may be called anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import tzinfo
from enum import EnumType
from typing import Any, is_typeddict

import msgspec

PROTOCOLS = ("__aenter__", "__aexit__", "__aiter__", "__call__", "__enter__", "__exit__", "__iter__")
MISSING = "is missing"
KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional only",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional or keyword",
    inspect.Parameter.VAR_POSITIONAL: "any number by position",
    inspect.Parameter.KEYWORD_ONLY: "keyword only",
    inspect.Parameter.VAR_KEYWORD: "any other keyword",
}


def called(function: Any) -> dict[str, str]:
    """The parameters by name, in words. Those taken by position have their number."""
    found: dict[str, str] = {}
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    for number, one in enumerate(parameters):
        by_position = one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
        place = f" {number}" if by_position else ""
        optional = "" if one.default is one.empty else f" = {_default(one.default)}"
        found[one.name] = f"{KINDS[one.kind]}{place}{optional}"
    return found


def _default(value: object) -> str:
    if inspect.isbuiltin(value) or inspect.isfunction(value):
        return value.__name__
    if isinstance(value, msgspec.Struct | tuple | list):
        return repr(msgspec.to_builtins(value))
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text


def kind_of_function(function: Any) -> str:
    """Whether it is awaited, iterated or simply called."""
    if inspect.iscoroutinefunction(function):
        return "async function"
    return "async generator" if inspect.isasyncgenfunction(function) else "function"


def thing(value: Any) -> dict[str, Any]:
    """A public name: a function with its parameters, or a class with them and with the protocols it follows."""
    if is_typeddict(value):
        return {"is": "mapping", "keys": {name: _required(value, name) for name in value.__annotations__}}
    if isinstance(value, EnumType):
        return {"is": "enumeration", "members": {name: one.value for name, one in value.__members__.items()}}
    if inspect.isclass(value):
        return _class(value)
    if inspect.isroutine(value) or callable(value):
        return {"is": kind_of_function(value), "parameters": called(value)}
    return {"is": "value", "value": repr(value)}


def _required(mapping: Any, name: str) -> str:
    return "required" if name in mapping.__required_keys__ else "may be left out"


def _class(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"is": "class"}
    protocols = [name for name in PROTOCOLS if callable(getattr(value, name, None))]
    # object.__call__ is that of the metaclass, so the class itself must have it
    own = [name for name in protocols if any(name in vars(base) for base in value.__mro__)]
    if own:
        found["protocols"] = own
    if value.__str__ is not object.__str__ and not issubclass(value, BaseException):
        found["protocols"] = [*found.get("protocols", []), "__str__"]
    if not issubclass(value, BaseException) and not getattr(value, "_is_protocol", False):
        found["parameters"] = called(value)
    if issubclass(value, msgspec.Struct):
        found["fields"] = fields(value)
    return found


def member(owner: Any, name: str) -> Any:
    """What a documented member of a living object is: a value of some type, or a method with its parameters."""
    try:
        value = getattr(owner, name)
    except AttributeError:
        return MISSING
    if inspect.ismethod(value) or inspect.isfunction(value):
        return {"method": kind_of_function(value), "parameters": called(value)}
    return f"value: {_type_of(value)}"


def declared(owner: type, name: str) -> Any:
    """The same, looked up in a class."""
    value = inspect.getattr_static(owner, name, None)
    if value is None:
        return MISSING
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    if inspect.isfunction(value):
        return {"method": kind_of_function(value), "parameters": called(value)}
    return "value"


def _type_of(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, Mapping):
        return "mapping"
    return "time zone" if isinstance(value, tzinfo) else type(value).__name__


def fields(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The fields of a struct by the name they have in JSON: type, default, and its tag if it has one."""
    try:
        described = msgspec.inspect.type_info(struct)
    except TypeError:  # it is made by hand only, and never decoded
        fields = msgspec.structs.fields(struct)
        return {one.name: "required" if one.required else "optional" for one in fields}
    found = {one.encode_name: _field(one) for one in described.fields}
    if described.tag is not None:
        found[str(described.tag_field)] = f"always {described.tag!r}"
    return found


def _field(one: Any) -> str:
    text = shape(one.type)
    if one.required:
        return f"{text}, required"
    default = one.default if one.default is not msgspec.NODEFAULT else one.default_factory()
    return f"{text} = {_default(default)}"


def shape(described: Any) -> str:
    """A type in words. Structs are shown by their name; `words_of` writes them out."""
    kind = type(described).__name__.removesuffix("Type")
    if kind == "Literal":
        return " | ".join(repr(one) for one in sorted(described.values))
    if kind == "Union":
        return " | ".join(sorted(shape(one) for one in described.types))
    if kind in {"List", "VarTuple", "Tuple"}:
        inner = described.item_types if kind == "Tuple" else [described.item_type]
        return f"{'tuple' if kind == 'Tuple' else 'list'} of ({', '.join(map(shape, inner))})"
    if kind == "Dict":
        return f"{shape(described.key_type)} to ({shape(described.value_type)})"
    if described_class := getattr(described, "cls", None):
        return _PLAIN.get(described_class.__name__, described_class.__name__)
    return _PLAIN.get(kind, kind.lower())


_PLAIN = {"Str": "text", "None": "null", "Any": "anything", "object": "anything"}


def words_of(struct: type[msgspec.Struct], path: str = "$") -> dict[str, str]:
    """Every field that may stand in a document of this struct, by its place: `$.budgets[].limits{}`."""
    found: dict[str, str] = {}
    _walk(msgspec.inspect.type_info(struct), path, found)
    return found


def _walk(described: Any, path: str, found: dict[str, str]) -> None:
    kind = type(described).__name__.removesuffix("Type")
    if kind == "Struct":
        for one in described.fields:
            inner = f"{path}.{one.encode_name}"
            found[inner] = _without_structs(one)
            _walk(one.type, inner, found)
    elif kind == "Union":
        for one in described.types:
            _walk(one, path, found)
    elif kind in {"List", "VarTuple"}:
        _walk(described.item_type, f"{path}[]", found)
    elif kind == "Dict":
        _walk(described.value_type, f"{path}{{}}", found)


def _without_structs(one: Any) -> str:
    """A field whose inner structs are mappings: their names may change."""
    text, names = _field(one), _structs(one.type)
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "mapping")
    return text


def _structs(described: Any) -> set[str]:
    kind = type(described).__name__.removesuffix("Type")
    if kind == "Struct":
        return {described.cls.__name__}
    inner = [getattr(described, name) for name in ("item_type", "value_type") if hasattr(described, name)]
    return {name for one in [*inner, *getattr(described, "types", ())] for name in _structs(one)}
