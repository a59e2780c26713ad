"""Idempotency keys: what tells that two calls are one, delivered twice."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from costscope.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.call.spec import Spec

__all__ = ["check_key", "key_of"]


def check_key(key: object, function: Callable[..., object], name: str) -> None:
    """An argument that does not exist identifies nothing: a misspelt name would switch the protection off."""
    if not isinstance(key, str):
        return
    parameters = inspect.signature(function).parameters
    if key not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        msg = f"idempotency_key={key!r}: {name} has no such argument, only {', '.join(parameters) or 'none at all'}"
        raise InvalidInput(msg)


def key_of(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The idempotency key of a call: an argument's value, or what the user's function makes of them all."""
    given = spec.options.idempotency_key
    if given is None:
        return None
    key = given(*args, **kwargs) if callable(given) else spec.shape.bind(args, kwargs).get(given)
    if key is not None and (not isinstance(key, str) or not key):
        msg = f"idempotency_key of {spec.function_name}: {key!r:.60} is not a text; name an argument that holds one, or give a function that returns one"
        raise InvalidInput(msg)
    return f"{spec.kind}:{spec.name or spec.function_name}:{key}" if key is not None else None
