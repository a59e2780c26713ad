"""`budget_scope(...)`: a context manager, an async context manager and a decorator."""

from __future__ import annotations

import asyncio
import difflib
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from costscope.context import current_scope, set_current_scope
from costscope.engine.run.run_life import admit_run, close_scope, leave_scope
from costscope.engine.state.scope_state import PLAIN, ScopeOptions, ScopeState
from costscope.errors import InvalidInput
from costscope.ledger.meters import METERS, MONEY
from costscope.observe.events.callbacks import Callbacks
from costscope.policy.model.durations import to_ms
from costscope.pricing.money import to_count, to_nano
from costscope.scope.decorated import DecoratedFunction, ScopedAsyncGenerator, ScopedGenerator
from costscope.scope.default_runtime import default, get_runtime
from costscope.scope.runtime import services_of
from costscope.scope.scope import facade_of
from costscope.stores.effects import run_async, run_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from costscope.engine.state.run import Run
    from costscope.errors import RunHalted
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
    from costscope.scope.scope import Scope

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
    """Open a scope with `with` or `async with`, or put one on a function, which then runs in a new one.

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
    limits = _limits_of(given, labels)
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


def _limits_of(given: tuple[MoneyLike | None, ...], labels: Iterable[str]) -> dict[str, int]:
    """Return the limits by meter, in the ledger's units.

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
        self._scope: ScopeState | None = None
        self._interrupt: Interrupt | None = None

    def __enter__(self) -> Scope:
        scope = self._open_once()
        if scope.opens_run:
            run_sync(admit_run(scope), scope.services.store)
        self._scope = scope
        set_current_scope(scope)
        return facade_of(scope)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        scope, self._scope = self._scope, None
        if scope is None:
            return
        if scope.opens_run:
            run_sync(leave_scope(scope, error), scope.services.store)
        else:
            close_scope(scope, error)

    async def __aenter__(self) -> Scope:
        scope = self._open_once()
        run = scope.run
        if scope.opens_run:
            await run_async(admit_run(scope), scope.services.store)
        self._scope = scope
        if scope.opens_run and run is not None:
            self._interrupt = await Interrupt.of(run)
        set_current_scope(scope)
        return facade_of(scope)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        scope, self._scope = self._scope, None
        interrupt, self._interrupt = self._interrupt, None
        if scope is None:
            return
        halted = None if interrupt is None else await interrupt.end(error)
        if scope.opens_run and not isinstance(error, GeneratorExit):
            await run_async(leave_scope(scope, error), scope.services.store)
        else:  # there is nothing to wait for; or the coroutine is being closed, and must not wait any more
            close_scope(scope, error)
        if halted is not None:
            raise halted from None

    def _open_once(self) -> ScopeState:
        if self._scope is not None:
            msg = "this budget_scope(...) is open already; call budget_scope(...) again for another one"
            raise RuntimeError(msg)
        return self._open()

    def _open(self) -> ScopeState:
        services = default.services if self._runtime is None else services_of(self._runtime)
        if services is None:
            services = services_of(get_runtime())
        return ScopeState(services, self._labels, self._limits, self._options, outer=current_scope())

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine function or (async) generator function: each call has its own scope."""
        scoped: Any = DecoratedFunction(function, self._wrapper_of(function))
        return scoped  # type: ignore[no-any-return]

    def _wrapper_of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        body = function.__func__ if isinstance(function, classmethod | staticmethod) else function
        if inspect.isasyncgenfunction(body):
            return lambda wrapped, _, args, kwargs: ScopedAsyncGenerator(
                self._open(), wrapped(*args, **kwargs)
            )
        if inspect.isgeneratorfunction(body):
            return lambda wrapped, _, args, kwargs: ScopedGenerator(self._open(), wrapped(*args, **kwargs))
        if inspect.iscoroutinefunction(body):

            async def run_coroutine(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
                async with self._again():
                    return await wrapped(*args, **kwargs)

            return run_coroutine

        def run(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
            with self._again():
                return wrapped(*args, **kwargs)

        return run

    def _again(self) -> BudgetScope:
        """Return the same, not yet opened."""
        return BudgetScope(self._runtime, self._labels, self._limits, self._options)


class Interrupt:
    """Ends the task that a run is, wherever it waits, when the run is halted from outside or its time is over.

    From entering a run with `async with` to leaving it. A run in a thread is stopped at its next call instead.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    @classmethod
    async def of(cls, run: Run) -> Self | None:
        """Let the task be ended from now on; None where there is no task."""
        try:
            if asyncio.current_task() is None:
                return None
        except RuntimeError:  # no loop: the coroutine is stepped by hand
            return None
        interrupt = cls(run)
        await interrupt._timeout.__aenter__()
        run.interrupts(interrupt._from_any_thread)
        return interrupt

    async def end(self, error: BaseException | None) -> RunHalted | None:
        """Let it be ended no more; return what is to be raised instead of the cancellation that this has caused."""
        run = self._run
        run.interrupts(None)
        try:
            await self._timeout.__aexit__(type(error) if error is not None else None, error, None)
        except TimeoutError:
            run.halt(run.ends_why)
            return run.halted_error()
        return None

    def _from_any_thread(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._reschedule)

    def _reschedule(self) -> None:
        run, at_s = self._run, None
        if run.cut_short:
            at_s = self._loop.time()
        elif run.ends_ms:
            at_s = self._loop.time() + max(run.ends_ms - run.services.now_ms(), 0) / 1000
        with suppress(RuntimeError):  # it has ended meanwhile
            self._timeout.reschedule(at_s)


def new_scope(runtime: Runtime, **given: Any) -> ScopeState:
    """Return the scope that `budget_scope` with these arguments would open here, not yet current."""
    return budget_scope(runtime=runtime, **given)._open()  # noqa: SLF001 - of this module
