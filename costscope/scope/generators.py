"""Generators that run in a scope of their own without leaking it to whoever iterates.

A body that sets a context variable sets it for its caller. So the scope is made ambient for each step, from
outside, and what was ambient before is put back by value.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from costscope.ambient import ambient_scope, set_ambient_scope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.scope.scope import Scope

__all__ = ["ScopedAsyncGenerator", "ScopedGenerator"]


class _Scoped:
    def __init__(self, scope: Scope, body: Any) -> None:
        self._scope = scope
        self._inner: Scope | None = scope
        self._body = body
        self._begun = False

    def _begin(self) -> None:
        """Where the scope is a run, it is admitted before the first step."""
        if not self._begun:
            self._begun = True
            self._scope.begin()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        before = ambient_scope()
        set_ambient_scope(self._inner)
        try:
            yield
        except BaseException as error:  # the body has ended
            self._scope.close(None if isinstance(error, StopIteration | StopAsyncIteration) else error)
            raise
        finally:
            self._inner = ambient_scope()
            set_ambient_scope(before)

    def __del__(self) -> None:
        self._scope.close()


class ScopedGenerator(_Scoped, Generator[Any, Any, Any]):
    """A generator whose body runs in its own scope."""

    def send(self, value: Any) -> Any:
        """Run the body to its next yield."""
        self._begin()
        with self._inside():
            return self._body.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        """Raise inside the body."""
        with self._inside():
            return self._body.throw(_exception(typ, val, tb))

    def close(self) -> None:
        """End the body and leave the scope."""
        with self._inside():
            self._body.close()
        self._scope.close()


class ScopedAsyncGenerator(_Scoped, AsyncGenerator[Any, Any]):
    """An async generator whose body runs in its own scope."""

    async def asend(self, value: Any) -> Any:
        """Run the body to its next yield."""
        if not self._begun:
            self._begun = True
            await self._scope.abegin()
        with self._inside():
            return await self._body.asend(value)

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        """Raise inside the body."""
        with self._inside():
            return await self._body.athrow(_exception(typ, val, tb))

    async def aclose(self) -> None:
        """End the body and leave the scope."""
        with self._inside():
            await self._body.aclose()
        self._scope.close()


def _exception(typ: Any, val: Any, tb: Any) -> BaseException:
    """`throw` takes an exception, or the three parts that Python used to pass."""
    error: BaseException = (
        val if isinstance(val, BaseException) else typ if isinstance(typ, BaseException) else typ()
    )
    return error.with_traceback(tb) if tb is not None else error
