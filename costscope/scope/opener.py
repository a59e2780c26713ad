"""`budget_scope(...)`: a context manager, an async context manager and a decorator."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar

from costscope.errors import InvalidInput
from costscope.ledger import CALL_METERS
from costscope.money import to_count, to_nano
from costscope.runtime.default import get_runtime
from costscope.scope.context import ambient_scope
from costscope.scope.generators import ScopedAsyncGenerator, ScopedGenerator
from costscope.scope.scope import Scope
from costscope.scope.wrapper import DecoratedFunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from costscope.money import MoneyLike
    from costscope.runtime.runtime import Runtime

__all__ = ["BudgetScope", "budget_scope"]

F = TypeVar("F", bound="Callable[..., Any]")

_LIMITS: Final = {f"max_{meter}": meter for meter in CALL_METERS}


def budget_scope(
    *,
    runtime: Runtime | None = None,
    max_cost: MoneyLike | None = None,
    max_tokens: int | None = None,
    max_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    max_model_calls: int | None = None,
    max_tool_calls: int | None = None,
    **labels: str,
) -> BudgetScope:
    """A scope to open with `with` or `async with`, or to put on a function, which then runs in a new one.

    A scope whose labels include `run`, and that adds a label, shares its limits with every process that opens
    the same labels; any other scope's limits are its own.

    Args:
        runtime: the runtime to act on; by default the one made by `configure`.
        max_cost: the most its calls may cost together, in units of the currency, such as `"0.50"`.
        max_tokens: the most tokens, in and out.
        max_input_tokens: the most tokens sent.
        max_output_tokens: the most tokens generated.
        max_model_calls: the most model calls.
        max_tool_calls: the most tool calls.
        labels: any other keyword: `tenant="acme"`, `run="r-1"`. A child inherits all and may change none.

    Raises:
        InvalidLabel, InvalidAmount, InvalidInput: when it is opened with something that cannot be used.
    """
    given = (max_cost, max_tokens, max_input_tokens, max_output_tokens, max_model_calls, max_tool_calls)
    for name in labels:
        if name.startswith("max_"):
            near = difflib.get_close_matches(name, _LIMITS, n=1)
            hint = f"did you mean {near[0]}=? " if near else ""
            msg = f"{name}= is no limit: {hint}limits are {', '.join(_LIMITS)}, and a label's name may not begin with max_"
            raise InvalidInput(msg)
    limits = {
        meter: to_nano(value, what=name) if meter == "cost" else to_count(value, what=name)
        for (name, meter), value in zip(_LIMITS.items(), given, strict=True)
        if value is not None
    }
    return BudgetScope(runtime, labels, limits)


class BudgetScope:
    """What `budget_scope(...)` returns: it opens one scope when entered, a new one per call as a decorator."""

    __slots__ = ("_labels", "_limits", "_runtime", "_scope")

    def __init__(self, runtime: Runtime | None, labels: dict[str, str], limits: dict[str, int]) -> None:
        self._runtime = runtime
        self._labels = labels
        self._limits = limits
        self._scope: Scope | None = None

    def open(self) -> Scope:
        """A new scope inside the ambient one, not yet ambient itself."""
        return Scope(self._runtime or get_runtime(), self._labels, self._limits, outer=ambient_scope())

    def again(self) -> BudgetScope:
        """The same, not yet opened."""
        return BudgetScope(self._runtime, self._labels, self._limits)

    def __enter__(self) -> Scope:
        if self._scope is not None:
            msg = "this budget_scope(...) is open already; call budget_scope(...) again for another one"
            raise RuntimeError(msg)
        self._scope = self.open()
        return self._scope.enter()

    def __exit__(self, *_: object) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            scope.close()

    async def __aenter__(self) -> Scope:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function or (async) generator function: each call has its own scope."""
        scoped: Any = DecoratedFunction(function, _scoped(self, function))
        return scoped  # type: ignore[no-any-return]


def _scoped(opener: BudgetScope, function: Callable[..., Any]) -> Callable[..., Any]:
    body = function.__func__ if isinstance(function, classmethod | staticmethod) else function
    if inspect.isasyncgenfunction(body):
        return lambda wrapped, _, args, kwargs: ScopedAsyncGenerator(opener.open(), wrapped(*args, **kwargs))
    if inspect.isgeneratorfunction(body):
        return lambda wrapped, _, args, kwargs: ScopedGenerator(opener.open(), wrapped(*args, **kwargs))
    if inspect.iscoroutinefunction(body):

        async def run_coroutine(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
            with opener.again():
                return await wrapped(*args, **kwargs)

        return run_coroutine

    def run(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
        with opener.again():
            return wrapped(*args, **kwargs)

    return run
