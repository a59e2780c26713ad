"""Metered generators: reserved at the first step, settled at the end, charged when abandoned.

They are driven step by step from outside, so no context variable is ever set in a generator's body: there it
would leak to the caller that iterates. What the body itself leaves current (a scope it has open across a yield) is
taken away after each step and put back before the next.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from costscope.context import current_call, current_scope, set_current_call, set_current_scope
from costscope.engine.call.drive import areserve, asettle, enqueue_settlement, reserve, settle
from costscope.engine.enforcement.refusals import value_instead
from costscope.errors import CallDenied
from costscope.metered.build import open_call, scope_of
from costscope.metered.results import broken_stream_command, error_command, stream_command
from costscope.pricing.usage.stream_usage import StreamUsage
from costscope.scope.decorated import thrown_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from costscope.engine.state.call import Call
    from costscope.engine.state.scope_state import ScopeState
    from costscope.ledger import Commit
    from costscope.metered.spec import Spec


class _MeteredSteps:
    """What both kinds of generator share: everything that does not wait."""

    _call: Call | None = None  # also of one whose making was refused

    def __init__(
        self, spec: Spec, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._spec = spec
        self._wrapped = wrapped
        self._args = args
        self._kwargs = kwargs
        self._scope: ScopeState = scope_of(spec)  # the scope of the call, not of the first step
        self._usage = StreamUsage()
        self._body: Any = None
        self._inner_scope: ScopeState | None = self._scope
        self._last: object = None

    def _instead(self, call: Call | None, error: CallDenied) -> tuple[object, ...]:
        """Return the items of a refused generator: the value that stands for it, and nothing for None.

        Raises:
            CallDenied: it is to raise.
        """
        if call is None:
            raise error
        instead = value_instead(call.scope, call.on_denied, error)
        return () if instead is None else (instead,)

    def _begin(self, call: Call | None) -> None:
        """Make the body: the call is reserved, or covered by one around it."""
        args, kwargs = self._args, self._kwargs
        if call is not None:
            args, kwargs = self._spec.granted_arguments(call, args, kwargs)
        self._body = self._wrapped(*args, **kwargs)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Make one step of the body: the captured scope and this call are current, the caller's are put back."""
        scope, call = current_scope(), current_call()
        set_current_scope(self._inner_scope)
        set_current_call(self._call or call)
        span = self._call.span if self._call is not None else None
        if span is not None:
            span.enter()
        try:
            yield
        finally:
            if span is not None:
                span.leave()
            self._inner_scope = current_scope()
            set_current_scope(scope)
            set_current_call(call)

    def _pass_item(self, item: object) -> object:
        if self._call is not None:
            self._usage.feed(item)
            self._last = item
        return item

    @property
    def _unsettled(self) -> Call | None:
        return self._call if self._call is not None and not self._call.closed else None

    def _abandon_command(self, call: Call) -> Commit | None:
        return call.charge_command() if call.closed else broken_stream_command(self._spec, call, self._usage)

    def __del__(self) -> None:
        call = self._call
        if call is not None and not call.over:  # collected unfinished or interrupted: no I/O from a finalizer
            enqueue_settlement(call, self._abandon_command(call))


class MeteredGenerator(_MeteredSteps, Generator[Any, Any, Any]):
    """A generator of a metered function."""

    def send(self, value: Any) -> Any:
        """Run the body to its next yield; the first step reserves."""
        return self._step(lambda: self._body.send(value))

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        """Raise inside the body."""
        error = thrown_error(typ, val, tb)
        return self._step(lambda: self._body.throw(error))

    def close(self) -> None:
        """Abandon the generator: its call is charged."""
        try:
            if self._body is not None:
                with self._inside():
                    self._body.close()
        finally:
            call = self._call
            if call is not None and not call.over:
                settle(call, self._abandon_command(call))

    def _step(self, advance: Callable[[], Any]) -> Any:
        if self._body is None:
            call = open_call(self._spec, self._args, self._kwargs, self._scope)
            try:
                if call is not None:
                    reserve(call)
                    self._call = call
                self._begin(call)
            except CallDenied as error:
                self._body = (item for item in self._instead(call, error))
        try:
            with self._inside():
                item = advance()
        except StopIteration as stop:
            call = self._unsettled
            if call is not None:
                settle(call, stream_command(self._spec, call, self._usage, stop.value or self._last))
            raise
        except BaseException as error:
            call = self._unsettled
            if call is not None:
                settle(call, error_command(self._spec, call, error))
            raise
        return self._pass_item(item)


class MeteredAsyncGenerator(_MeteredSteps, AsyncGenerator[Any, Any]):
    """An async generator of a metered function."""

    async def asend(self, value: Any) -> Any:
        """Run the body to its next yield; the first step reserves."""
        return await self._step(lambda: self._body.asend(value))

    async def athrow(self, typ: Any, val: Any = None, tb: TracebackType | None = None) -> Any:
        """Raise inside the body."""
        error = thrown_error(typ, val, tb)
        return await self._step(lambda: self._body.athrow(error))

    async def aclose(self) -> None:
        """Abandon the generator: its call is charged."""
        try:
            if self._body is not None:
                with self._inside():
                    await self._body.aclose()
        finally:
            call = self._call
            if call is not None and not call.over:
                await asettle(call, self._abandon_command(call), sys.exception())

    async def _step(self, advance: Callable[[], Any]) -> Any:
        if self._body is None:
            call = open_call(self._spec, self._args, self._kwargs, self._scope)
            try:
                if call is not None:
                    await areserve(call)
                    self._call = call
                self._begin(call)
            except CallDenied as error:
                self._body = _yield_each(self._instead(call, error))
        try:
            with self._inside():
                item = await advance()
        except StopAsyncIteration:
            call = self._unsettled
            if call is not None:
                await asettle(call, stream_command(self._spec, call, self._usage, self._last))
            raise
        except BaseException as error:
            call = self._unsettled
            if call is not None:
                await asettle(call, error_command(self._spec, call, error), error)
            raise
        return self._pass_item(item)


async def _yield_each(items: tuple[object, ...]) -> AsyncGenerator[object, None]:
    for item in items:
        yield item


def generator_wrapper(
    make: type[MeteredGenerator | MeteredAsyncGenerator], free: Spec, bound: Spec
) -> Callable[..., Any]:
    """Wrap a generator function; `free` and `bound` as for `function_wrapper`."""

    def wrapper(
        wrapped: Callable[..., Any], instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return make(free if instance is None else bound, wrapped, args, kwargs)

    return wrapper
