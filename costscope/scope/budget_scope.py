"""`budget_scope(...)`: a context manager, an async context manager and a decorator."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar

from costscope.context import ambient_scope
from costscope.engine.run.interrupt import Interrupt
from costscope.errors import InvalidInput
from costscope.ledger.meters import METERS, MONEY
from costscope.observe.events.callbacks import Callbacks
from costscope.policy.model.durations import to_ms
from costscope.pricing.money import to_count, to_nano
from costscope.scope.decorated import DecoratedFunction, ScopedAsyncGenerator, ScopedGenerator
from costscope.scope.default_runtime import get_runtime
from costscope.scope.scope import PLAIN, Scope, ScopeOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from costscope.observe.events.callbacks import Given
    from costscope.observe.events.records import (
        CallRefused,
        CallSettled,
        Downgraded,
        RunawayDetected,
        ThresholdCrossed,
    )
    from costscope.pricing.money import MoneyLike
    from costscope.scope.runtime import Runtime

__all__ = ["BudgetScope", "budget_scope"]

F = TypeVar("F", bound="Callable[..., Any]")

_LIMITS: Final = {f"max_{name}": name for name, meter in METERS.items() if meter.argument}


def budget_scope(
    *,
    runtime: Runtime | None = None,
    max_cost: MoneyLike | None = None,
    max_tokens: int | None = None,
    max_input_tokens: int | None = None,
    max_output_tokens: int | None = None,
    max_model_calls: int | None = None,
    max_tool_calls: int | None = None,
    max_iterations: int | None = None,
    max_wall_clock: str | float | None = None,
    join_run: bool = False,
    on_threshold: Given[ThresholdCrossed] = None,
    on_denied: Given[CallRefused] = None,
    on_downgrade: Given[Downgraded] = None,
    on_runaway: Given[RunawayDetected] = None,
    on_settled: Given[CallSettled] = None,
    **labels: str,
) -> BudgetScope:
    """A scope to open with `with` or `async with`, or to put on a function, which then runs in a new one.

    A scope whose labels include `run`, and that adds a label, shares its limits with every process that opens
    the same labels; any other scope's limits are its own. A scope that adds the label `run` is a run: entering it is
    its admission, which budgets of `runs` and `concurrent_runs` may refuse; leaving it ends it.

    Args:
        runtime: the runtime to act on; by default the one made by `configure`.
        max_cost: the most its calls may cost together, in units of the currency, such as `"0.50"`.
        max_tokens: the most tokens, in and out.
        max_input_tokens: the most tokens sent.
        max_output_tokens: the most tokens generated.
        max_model_calls: the most model calls.
        max_tool_calls: the most tool calls.
        max_iterations: the most turns counted by `iteration` and `iterations`.
        max_wall_clock: how long the run that this scope opens may last: seconds, or text such as `"30m"`.
        join_run: the run was admitted by another process: work in it without being counted, and without a slot.
        on_threshold: told of every threshold that a call in here has crossed and whose actions say `callback`, as they
            do by default; a function or several, plain or async.
        on_denied: told of every refusal in here.
        on_downgrade: told of every call that goes to another model, or with a lower cap.
        on_runaway: told when a run in here seems out of control, if the actions say `callback`, as by default.
        on_settled: told of every call in here that has ended.
        labels: any other keyword: `tenant="acme"`, `run="r-1"`. A child inherits all and may change none.

    Raises:
        InvalidLabel, InvalidAmount, InvalidInput: when it is opened with something that cannot be used.

    Entering it raises, where it is a run:
        BudgetExceeded, RunHalted, StoreUnavailable: it was not admitted; nothing is held.
    """
    given = (
        max_cost,
        max_tokens,
        max_input_tokens,
        max_output_tokens,
        max_model_calls,
        max_tool_calls,
        max_iterations,
    )
    limits = _checked(given, labels)
    if (
        max_wall_clock is None
        and not join_run
        and not any((on_threshold, on_denied, on_downgrade, on_runaway, on_settled))
    ):
        return BudgetScope(runtime, labels, limits, PLAIN)
    listeners = Callbacks(
        on_threshold=on_threshold,
        on_denied=on_denied,
        on_downgrade=on_downgrade,
        on_runaway=on_runaway,
        on_settled=on_settled,
    )
    clock_ms = None if max_wall_clock is None else to_ms(max_wall_clock, what="max_wall_clock")
    return BudgetScope(runtime, labels, limits, ScopeOptions(listeners, clock_ms, join_run))


def _checked(given: tuple[MoneyLike | None, ...], labels: Iterable[str]) -> dict[str, int]:
    """The limits by meter, in the ledger's units.

    Args:
        given: as many as there are in `_LIMITS`, and in that order.
        labels: their names, among which a misspelt limit would be.

    Raises:
        InvalidInput: it is.
    """
    for name in labels:
        if name.startswith("max_"):
            near = difflib.get_close_matches(name, _LIMITS, n=1)
            hint = f"did you mean {near[0]}=? " if near else ""
            msg = f"{name}= is no limit: {hint}limits are {', '.join((*_LIMITS, 'max_wall_clock'))}, and a label's name may not begin with max_"
            raise InvalidInput(msg)
    return {
        meter: to_nano(value, what=name) if meter in MONEY else to_count(value, what=name)
        for (name, meter), value in zip(_LIMITS.items(), given, strict=True)
        if value is not None
    }


class BudgetScope:
    """What `budget_scope(...)` returns: it opens one scope when entered, a new one per call as a decorator."""

    __slots__ = ("_interrupt", "_labels", "_limits", "_options", "_runtime", "_scope")

    def __init__(
        self, runtime: Runtime | None, labels: dict[str, str], limits: dict[str, int], options: ScopeOptions
    ) -> None:
        self._runtime = runtime
        self._labels = labels
        self._limits = limits
        self._options = options
        self._scope: Scope | None = None
        self._interrupt: Interrupt | None = None

    def open(self) -> Scope:
        """A new scope inside the ambient one, not yet ambient itself."""
        runtime = self._runtime or get_runtime()
        return Scope(runtime, self._labels, self._limits, self._options, outer=ambient_scope())

    def again(self) -> BudgetScope:
        """The same, not yet opened."""
        return BudgetScope(self._runtime, self._labels, self._limits, self._options)

    def __enter__(self) -> Scope:
        scope = self._opened()
        scope.begin()
        self._scope = scope
        return scope.enter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            scope.end(error)

    async def __aenter__(self) -> Scope:
        scope = self._opened()
        await scope.abegin()
        self._scope = scope
        run = scope.run
        if scope.opens_run and run is not None:
            self._interrupt = await Interrupt.of(run)
        return scope.enter()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        scope, self._scope = self._scope, None
        interrupt, self._interrupt = self._interrupt, None
        if scope is None:
            return
        halted = None if interrupt is None else await interrupt.end(error)
        await scope.aend(error)
        if halted is not None:
            raise halted from None

    def _opened(self) -> Scope:
        if self._scope is not None:
            msg = "this budget_scope(...) is open already; call budget_scope(...) again for another one"
            raise RuntimeError(msg)
        return self.open()

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
            async with opener.again():
                return await wrapped(*args, **kwargs)

        return run_coroutine

    def run(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
        with opener.again():
            return wrapped(*args, **kwargs)

    return run
