"""A coroutine that a plain function returned: the call is over when it is.

`AsyncOpenAI().chat.completions.create` is such a function: a decorator of the SDK hides from `inspect` that it is
asynchronous. Reserving has happened by then, without waiting; settling waits like any other.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any

import wrapt

from costscope.ambient import set_ambient_call
from costscope.call.drivers.drive import asettle, post, rescue
from costscope.call.drivers.streams import metered_stream
from costscope.call.results import failed, finished
from costscope.call.settlement import charging, committing
from costscope.call.span import enter_span, leave_span

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from costscope.call.call import Call
    from costscope.call.spec import Spec

__all__ = ["AwaitedCall", "metered_result"]


def metered_result(spec: Spec, call: Call, result: object) -> object | None:
    """What stands for a result that is not there yet, a stream or a coroutine; None if it is there."""
    if isinstance(result, CoroutineType):
        return AwaitedCall(spec, call, result)
    return metered_stream(spec, call, result)


class AwaitedCall(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # generic in wrapt's stubs only, not at run time
    """The coroutine of a metered call: it may be awaited, made a task of, or be dropped, which is charged."""

    def __init__(self, spec: Spec, call: Call, wrapped: Coroutine[Any, Any, Any]) -> None:
        super().__init__(wrapped)
        self._self_spec = spec
        self._self_call: Call | None = call
        self._self_running: Coroutine[Any, Any, Any] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_begun().__await__()

    def send(self, value: Any) -> Any:
        """Run to the next wait, as an event loop does."""
        return self._self_begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as a cancellation does."""
        if self._self_running is None:  # it ends before it begins, and so does what it would have awaited
            self.__wrapped__.close()
        return self._self_begun().throw(*error)

    def close(self) -> None:
        """End it; what it may have cost is charged."""
        if self._self_running is not None:
            self._self_running.close()
        self.__wrapped__.close()

    def __del__(self) -> None:
        call = getattr(self, "_self_call", None)
        if call is not None and not call.over:  # dropped without having been awaited: its request may be out
            post(call, charging(call) if call.closed else committing(call, None))

    def _self_begun(self) -> Coroutine[Any, Any, Any]:
        if self._self_running is None:
            self._self_running = self._self_run()
        return self._self_running

    async def _self_run(self) -> Any:
        spec, call = self._self_spec, self._self_call
        assert call is not None, "it runs once"
        try:
            try:
                set_ambient_call(call)
                enter_span(call)
                result = await self.__wrapped__
            except BaseException as error:
                set_ambient_call(call.outer)
                leave_span(call)
                await asettle(call, failed(spec, call, error), error)
                call.over = True
                raise
            set_ambient_call(call.outer)
            leave_span(call)
            if (stream := metered_stream(spec, call, result)) is not None:
                self._self_call = None  # the stream settles it
                return stream
            await asettle(call, finished(spec, call, result))
            call.over = True
            return result
        except Exception:
            raise
        except BaseException:
            rescue(call)
            raise
