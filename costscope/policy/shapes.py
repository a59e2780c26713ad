"""What the schema allows at a place of a policy, for the hints of errors."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from costscope.policy.schema import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from costscope.policy.document import Steps

__all__ = ["choices_at", "fields_at"]


def fields_at(steps: Steps) -> tuple[str, ...]:
    """The fields of the struct that stands at a place; none if there is no struct."""
    return tuple(name for shape in _shapes(steps) if _is_struct(shape) for name in shape.__struct_fields__)


def choices_at(steps: Steps) -> tuple[str, ...]:
    """The words that may stand at a place; none if it is no matter of choice."""
    return tuple(word for shape in _shapes(steps) if get_origin(shape) is Literal for word in get_args(shape))


# A type annotation is a value of no type that could be named here, so these speak of Any.
def _shapes(steps: Steps) -> list[Any]:
    shapes: list[Any] = [Policy]
    for step in steps:
        shapes = [inner for shape in shapes for inner in _inside(shape, step)]
    return shapes


def _inside(shape: Any, step: str | int) -> Iterator[Any]:
    if _is_struct(shape):
        yield from _alternatives(get_type_hints(shape).get(str(step)))
    elif get_origin(shape) is dict:
        yield from _alternatives(get_args(shape)[1])
    elif get_origin(shape) is tuple:
        yield from _alternatives(get_args(shape)[0])


def _alternatives(shape: Any) -> Iterator[Any]:
    if get_origin(shape) in {Union, types.UnionType}:
        for one in get_args(shape):
            yield from _alternatives(one)
    else:
        yield shape


def _is_struct(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, msgspec.Struct)
