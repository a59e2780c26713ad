"""The wrapper that a decorated function of any kind becomes."""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import wrapt

from costscope.context import current_scope, set_current_scope
from costscope.engine.run.run_life import admit_run, close_scope
from costscope.stores.effects import run_async, run_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.engine.state.scope_state import ScopeState
    from costscope.stores.effects import Steps


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


class _Scoped:
    def __init__(self, scope: ScopeState, body: Any) -> None:
        self._scope = scope
        self._inner: ScopeState | None = scope
        self._body = body
        self._begun = False

    def _begin(self) -> Steps[None] | None:
        """Return what admits the run before the first step, where the scope opens one."""
        begun, self._begun = self._begun, True
        return admit_run(self._scope) if not begun and self._scope.opens_run else None

    @contextmanager
    def _inside(self) -> Iterator[None]:
        before = current_scope()
        set_current_scope(self._inner)
        try:
            yield
        except BaseException as error:  # the body has ended
            close_scope(self._scope, None if isinstance(error, StopIteration | StopAsyncIteration) else error)
            raise
        finally:
            self._inner = current_scope()
            set_current_scope(before)

    def __del__(self) -> None:
        close_scope(self._scope)


class ScopedGenerator(_Scoped, Generator[Any, Any, Any]):
    """A generator whose body runs in its own scope."""

    def send(self, value: Any) -> Any:
        """Run the body to its next yield."""
        admission = self._begin()
        if admission is not None:
            run_sync(admission, self._scope.services.store)
        with self._inside():
            return self._body.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        """Raise inside the body."""
        with self._inside():
            return self._body.throw(thrown_error(typ, val, tb))

    def close(self) -> None:
        """End the body and leave the scope."""
        with self._inside():
            self._body.close()
        close_scope(self._scope)


class ScopedAsyncGenerator(_Scoped, AsyncGenerator[Any, Any]):
    """An async generator whose body runs in its own scope."""

    async def asend(self, value: Any) -> Any:
        """Run the body to its next yield."""
        admission = self._begin()
        if admission is not None:
            await run_async(admission, self._scope.services.store)
        with self._inside():
            return await self._body.asend(value)

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        """Raise inside the body."""
        with self._inside():
            return await self._body.athrow(thrown_error(typ, val, tb))

    async def aclose(self) -> None:
        """End the body and leave the scope."""
        with self._inside():
            await self._body.aclose()
        close_scope(self._scope)


def thrown_error(typ: Any, val: Any, tb: Any) -> BaseException:
    """Return what `throw` is to raise: it takes an exception, or the three parts that Python used to pass."""
    error: BaseException = (
        val if isinstance(val, BaseException) else typ if isinstance(typ, BaseException) else typ()
    )
    return error.with_traceback(tb) if tb is not None else error
