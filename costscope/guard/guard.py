"""`Guard`: the hooks, for threads and for event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from costscope.guard.calls import call_ends, model_begins, tool_begins
from costscope.guard.lifecycle import iteration_begins, iteration_ends, run_ends, run_starts
from costscope.guard.open_runs import Runs
from costscope.scope.default_runtime import get_runtime
from costscope.scope.scope import facade_of
from costscope.stores.effects import run_async, run_sync

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from costscope.guard.decisions import (
        AdmissionDecision,
        IterationDecision,
        ModelDecision,
        RunSummary,
        SettledDecision,
        ToolDecision,
    )
    from costscope.guard.requests import ModelRequest, ToolRequest
    from costscope.scope.runtime import Runtime
    from costscope.scope.scope import Scope


class Guard:
    """The lifecycle of runs for frameworks that call you at every step, without scopes, decorators or contextvars.

    Runs are found by the id that the framework gives them, from any thread or task, many at once. Every hook answers
    with a decision; a refusal is one too, and raises nothing. Each hook `x` has a twin `ax` for event loops, and both
    may be used on the same run.

    Args:
        runtime: the runtime to act on; by default the one made by `configure`, looked up at `on_run_start`.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        self._runtime = runtime
        self._runs = Runs()

    # ---------------------------------------------------------------------------- runs

    def on_run_start(
        self, run_id: str, *, metadata: Mapping[str, Any] | None = None, **scope: Any
    ) -> AdmissionDecision:
        """Have a run admitted: counted, given its slots, kept alive by the heartbeat until `on_run_end`.

        It lies inside the scope that is open where this is called, if one is: its limits hold too.

        Args:
            run_id: unique among the runs that are open.
            metadata: kept for the summary, and for nothing else: it never becomes a metric's attribute.
            scope: labels (`tenant="acme"`; `tenant_id=` and the like mean the same), and all else that
                `budget_scope` takes: `max_cost="0.50"`, `max_iterations=8`, `join_run=True`, `on_threshold=...`

        Raises:
            HookRepeated: a run of this id is open.
            InvalidInput: something given cannot be used.
        """
        runtime = self._runtime or get_runtime()
        return run_sync(run_starts(self._runs, runtime, run_id, metadata, scope), runtime.store)

    async def aon_run_start(
        self, run_id: str, *, metadata: Mapping[str, Any] | None = None, **scope: Any
    ) -> AdmissionDecision:
        """`on_run_start` for an event loop."""
        runtime = self._runtime or get_runtime()
        return await run_async(run_starts(self._runs, runtime, run_id, metadata, scope), runtime.store)

    def on_run_end(
        self, run_id: str, status: str | None = None, *, reason: str = "", error: BaseException | None = None
    ) -> RunSummary:
        """End a run: charge what is still open, give back its slots, say how it went.

        Args:
            run_id: of the run.
            status: `completed`, `failed`, `halted` or `abandoned`; another word means failed, for that reason. By
                default completed, or failed with an error. A run that was halted stays so.
            reason: for people.
            error: what it failed with.

        Raises:
            RunUnknown: it is not open.
        """
        opened = self._runs.get(run_id)
        return run_sync(run_ends(self._runs, opened, status, reason, error), opened.store)

    async def aon_run_end(
        self, run_id: str, status: str | None = None, *, reason: str = "", error: BaseException | None = None
    ) -> RunSummary:
        """`on_run_end` for an event loop."""
        opened = self._runs.get(run_id)
        return await run_async(run_ends(self._runs, opened, status, reason, error), opened.store)

    # ---------------------------------------------------------------------- iterations

    def before_iteration(self, run_id: str) -> IterationDecision:
        """Count the next turn of the run's loop against `max_iterations`.

        Raises:
            RunUnknown: the run is not open.
        """
        opened = self._runs.get(run_id)
        return run_sync(iteration_begins(opened), opened.store)

    async def abefore_iteration(self, run_id: str) -> IterationDecision:
        """`before_iteration` for an event loop."""
        opened = self._runs.get(run_id)
        return await run_async(iteration_begins(opened), opened.store)

    def after_iteration(self, run_id: str, iteration: int | None = None) -> SettledDecision:
        """End the turn.

        Args:
            run_id: of the run.
            iteration: its number, where several are open at once; by default the latest.

        Raises:
            RunUnknown, CallUnknown: the run, or such an iteration, is not open.
        """
        opened = self._runs.get(run_id)
        return run_sync(iteration_ends(opened, iteration), opened.store)

    async def aafter_iteration(self, run_id: str, iteration: int | None = None) -> SettledDecision:
        """`after_iteration` for an event loop."""
        opened = self._runs.get(run_id)
        return await run_async(iteration_ends(opened, iteration), opened.store)

    # --------------------------------------------------------------------- model calls

    def before_model_call(self, run_id: str, model: str, **request: Unpack[ModelRequest]) -> ModelDecision:
        """Reserve the most the call can cost, where its route sends it.

        Args:
            run_id: of the run.
            model: what the framework would call. Call `decision.effective_model`, with `decision.max_tokens`.
            request: see `ModelRequest`: `messages`, `max_tokens`, `input_tokens`, `stage`, `estimate` ...

        Raises:
            RunUnknown, HookRepeated: the run is not open; a call of this `call_id` is.
            InvalidInput: something given cannot be used.
        """
        opened = self._runs.get(run_id)
        return run_sync(model_begins(opened, model, request), opened.store)

    async def abefore_model_call(
        self, run_id: str, model: str, **request: Unpack[ModelRequest]
    ) -> ModelDecision:
        """`before_model_call` for an event loop."""
        opened = self._runs.get(run_id)
        return await run_async(model_begins(opened, model, request), opened.store)

    def after_model_call(
        self,
        run_id: str,
        usage: object = None,
        *,
        call_id: str | None = None,
        error: BaseException | str | None = None,
        model: str | None = None,
    ) -> SettledDecision:
        """Commit what the call took; `allowed` says whether the run may go on.

        Args:
            run_id: of the run.
            usage: a `Usage`, an SDK's response or usage object, a dict, `(input, output)`. None charges the hold.
            call_id: of the decision; may be left out while the run has only one model call open.
            error: what it failed with. Released if the provider provably did not bill, else charged.
            model: what really answered, if that was not `effective_model`.

        Raises:
            RunUnknown, CallUnknown: the run, or such a call, is not open.
        """
        opened = self._runs.get(run_id)
        ends = call_ends(opened, "model", call_id, reported=usage, error=error, model=model)
        return run_sync(ends, opened.store)

    async def aafter_model_call(
        self,
        run_id: str,
        usage: object = None,
        *,
        call_id: str | None = None,
        error: BaseException | str | None = None,
        model: str | None = None,
    ) -> SettledDecision:
        """`after_model_call` for an event loop."""
        opened = self._runs.get(run_id)
        ends = call_ends(opened, "model", call_id, reported=usage, error=error, model=model)
        return await run_async(ends, opened.store)

    # ---------------------------------------------------------------------- tool calls

    def before_tool_call(self, run_id: str, tool: str, **request: Unpack[ToolRequest]) -> ToolDecision:
        """Count the call, and reserve what it can cost.

        Args:
            run_id: of the run.
            tool: its name, as in the policy's prices.
            request: see `ToolRequest`: `arguments`, `price`, `estimate` ...

        Raises:
            RunUnknown, HookRepeated: the run is not open; a call of this `call_id` is.
            InvalidInput: something given cannot be used.
        """
        opened = self._runs.get(run_id)
        return run_sync(tool_begins(opened, tool, request), opened.store)

    async def abefore_tool_call(self, run_id: str, tool: str, **request: Unpack[ToolRequest]) -> ToolDecision:
        """`before_tool_call` for an event loop."""
        opened = self._runs.get(run_id)
        return await run_async(tool_begins(opened, tool, request), opened.store)

    def after_tool_call(
        self,
        run_id: str,
        cost: object = None,
        *,
        call_id: str | None = None,
        error: BaseException | str | None = None,
    ) -> SettledDecision:
        """Commit what the call took; `allowed` says whether the run may go on.

        Args:
            run_id: of the run.
            cost: what it cost, or a mapping of meters; None charges the hold.
            call_id: of the decision; may be left out while the run has only one tool call open.
            error: what it failed with; as for `after_model_call`.

        Raises:
            RunUnknown, CallUnknown: the run, or such a call, is not open.
        """
        opened = self._runs.get(run_id)
        return run_sync(call_ends(opened, "tool", call_id, reported=cost, error=error), opened.store)

    async def aafter_tool_call(
        self,
        run_id: str,
        cost: object = None,
        *,
        call_id: str | None = None,
        error: BaseException | str | None = None,
    ) -> SettledDecision:
        """`after_tool_call` for an event loop."""
        opened = self._runs.get(run_id)
        return await run_async(call_ends(opened, "tool", call_id, reported=cost, error=error), opened.store)

    # -------------------------------------------------------------------------- others

    def runs(self) -> tuple[str, ...]:
        """Return the ids of the runs that are open."""
        return self._runs.ids()

    def scope(self, run_id: str) -> Scope:
        """Return the scope of an open run: its balances, `preview`, `halt`, `refresh`.

        Raises:
            RunUnknown: it is not open.
        """
        return facade_of(self._runs.get(run_id).scope)

    def close(self) -> None:
        """End every run that is open: failed, since the framework never ended it. The runtime stays open."""
        for run_id in self._runs.ids():
            self.on_run_end(run_id, "failed", reason="the guard was closed before the run had ended")

    async def aclose(self) -> None:
        """`close` for an event loop."""
        for run_id in self._runs.ids():
            await self.aon_run_end(run_id, "failed", reason="the guard was closed before the run had ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
