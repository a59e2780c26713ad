"""Reading fields from what SDKs return: dicts, pydantic models and plain objects, all the same way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from costscope.errors import InvalidUsage

__all__ = ["Fields", "count", "fields_of", "first_count", "text"]

Fields = Callable[[str], object]
"""Field name to value; None for a field that is absent."""


def fields_of(source: object) -> Fields:
    """The fields of a mapping or object; a None has no fields."""
    if type(source) is dict:
        return source.get
    if source is None:
        return _nothing
    if hasattr(type(source), "__pydantic_fields__"):
        # pydantic's own __getattr__ costs a microsecond for each field that is absent
        extra = getattr(source, "__pydantic_extra__", None)
        return {**source.__dict__, **extra}.get if extra else source.__dict__.get
    if isinstance(source, Mapping):
        return source.get
    return lambda name: _attribute(source, name)


def text(fields: Fields, name: str) -> str | None:
    """The field as text (an enum member by its value); None when it is absent or something else."""
    value = fields(name)
    if value is None or type(value) is str:
        return value or None
    value = getattr(value, "value", value)
    return value if isinstance(value, str) and value else None


def count(fields: Fields, name: str) -> int | None:
    """The field as a count; None when it is absent or null.

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
    """The first of the fields that is present and not zero, else 0."""
    for name in names:
        if fields(name):
            value = count(fields, name)
            if value:
                return value
    return 0


def _nothing(_name: str) -> None:
    return None


def _attribute(source: object, name: str) -> object:
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 - a result whose property raises says nothing; the call itself went well
        return None
