"""The wrapper that a decorated function becomes, whatever its kind."""

from __future__ import annotations

import copy
import functools
import importlib
from typing import Any

import wrapt

__all__ = ["DecoratedFunction"]


class _BoundDecoratedFunction(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # as below
    """A decorated method with its instance or class; pickled and copied like a plain method."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        owner, function = getattr(self.__wrapped__, "__self__", None), self.__wrapped__
        if owner is None:  # a staticmethod, or a method looked up on its class
            return _find, (function.__module__, function.__qualname__)
        return getattr, (owner, function.__name__)

    def __copy__(self) -> _BoundDecoratedFunction:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        find, found_by = self.__reduce_ex__(2)
        return find(*copy.deepcopy(found_by, memo))


class DecoratedFunction(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # generic in wrapt's stubs only
    """A decorated function, method, classmethod or staticmethod.

    wrapt passes `__code__`, `__wrapped__` and the signature through, so `inspect` answers as for the function
    itself. Its proxies refuse to be pickled and copied; this one is found again by its qualified name.
    """

    __bound_function_wrapper__ = _BoundDecoratedFunction

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _find, (self.__wrapped__.__module__, self.__wrapped__.__qualname__)

    def __copy__(self) -> DecoratedFunction:
        return self

    def __deepcopy__(self, memo: Any) -> DecoratedFunction:
        return self


def _find(module: str, qualname: str) -> Any:
    return functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
