"""Taking a scope along to where contextvars do not reach: plain threads, executors, callbacks."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from costscope.context import current_call, current_scope, set_current_call, set_current_scope

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

P = ParamSpec("P")
R = TypeVar("R")


def bind_scope(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with the scope (and the metered call) that is ambient now, wherever and whenever it runs.

    For `threading.Thread(target=bind_scope(work))`, `loop.run_in_executor(None, bind_scope(work))` and
    callbacks of libraries with threads of their own. `asyncio.to_thread` and tasks carry the scope by themselves.
    """
    scope, call = current_scope(), current_call()

    @functools.wraps(function)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        before = current_scope(), current_call()
        set_current_scope(scope)
        set_current_call(call)
        try:
            return function(*args, **kwargs)
        finally:
            set_current_scope(before[0])
            set_current_call(before[1])

    return bound


class ScopedExecutor(ThreadPoolExecutor):
    """A thread pool whose tasks run in the scope in which they were submitted."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Do as `ThreadPoolExecutor.submit`, with the scope bound; `map` uses it too."""
        bound: Any = bind_scope(fn)
        return super().submit(bound, *args, **kwargs)
