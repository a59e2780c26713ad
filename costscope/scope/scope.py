"""What a user holds of an open scope: looking at it, counting iterations, stopping its run, setting it back."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from costscope.engine.run.halting import halt_run
from costscope.engine.run.iterations import Iteration, Iterations
from costscope.errors import InvalidInput
from costscope.ledger import Read
from costscope.pricing.estimate.model_call import estimate_of
from costscope.pricing.money import currency
from costscope.scope.balances import balances, least_remaining, own_cost, own_limit, preview
from costscope.scope.reset import reset
from costscope.scope.summary import report, summary
from costscope.stores.effects import run_async, run_sync

if TYPE_CHECKING:
    from decimal import Decimal
    from typing import Unpack

    from costscope.engine.state.run import Run
    from costscope.engine.state.scope_state import ScopeState
    from costscope.observe.events.records import AccountReset
    from costscope.pricing.estimate.model_call import Described
    from costscope.scope.balances import AccountBalance, Preview
    from costscope.scope.summary import ScopeReport, ScopeSummary


class Scope:
    """An open scope; made by `budget_scope(...)`."""

    __slots__ = ("__weakref__", "_state")

    def __init__(self, state: ScopeState) -> None:
        self._state = state

    # ------------------------------------------------------------------------- what it is

    @property
    def labels(self) -> dict[str, str]:
        """Every label in effect, the inherited ones included."""
        return self._state.labels

    @property
    def parent(self) -> Scope | None:
        """The scope of the same runtime this one is nested in, or None."""
        parent = self._state.parent
        return None if parent is None else facade_of(parent)

    @property
    def closed(self) -> bool:
        """True once it was left; calls are then charged to the nearest scope that is still open."""
        return self._state.closed

    # ------------------------------------------------------------------------- looking

    @property
    def spent(self) -> Decimal:
        """Cost so far, in units of the currency, as last seen; no I/O.

        Of the scope's own account if it has a `max_cost` (shared with every process of the same run), else of
        this process's calls in it.
        """
        return currency(own_cost(self._state)[0])

    @property
    def held(self) -> Decimal:
        """Cost reserved by calls in flight, in units of the currency, counted like `spent`."""
        return currency(own_cost(self._state)[1])

    @property
    def remaining(self) -> Decimal | None:
        """The least that any budget over this scope has left for `cost`; None where none limits it."""
        return least_remaining(self._state)

    @property
    def limit(self) -> Decimal | None:
        """The least `cost` that the scope itself or its run is allowed; None where neither has a limit."""
        return own_limit(self._state)

    def balances(self) -> list[AccountBalance]:
        """Return every account and meter that limits this scope, as last seen: own limits first, no I/O."""
        return balances(self._state)

    def refresh(self) -> list[AccountBalance]:
        """Ask the store; then as `balances`."""
        state = self._state
        accounts = state.accounts(state.services.now_ms())
        state.record_balances(accounts, state.services.store.execute((Read(accounts),))[0])
        return self.balances()

    async def arefresh(self) -> list[AccountBalance]:
        """Ask the store, in an event loop; then as `balances`."""
        state = self._state
        accounts = state.accounts(state.services.now_ms())
        state.record_balances(accounts, (await state.services.store.aexecute((Read(accounts),)))[0])
        return self.balances()

    def preview(self, **call: Unpack[Described]) -> Preview:
        """Say what a call would do now: allowed or refused, by which account, and how many would fit.

        Reserves nothing; asks the store.

        Args:
            call: `model=` or `tool=` and the rest of what `costscope.reserve` takes.
        """
        estimate, _ = estimate_of(self._state.services.prices, call)
        return preview(estimate, self.refresh())

    async def apreview(self, **call: Unpack[Described]) -> Preview:
        """Say what a call would do now, in an event loop."""
        estimate, _ = estimate_of(self._state.services.prices, call)
        return preview(estimate, await self.arefresh())

    def report(self) -> ScopeReport:
        """Return the tree of this scope and those nested in it, with every account; `str()` draws it. No I/O."""
        return report(self._state)

    def summary(self) -> ScopeSummary:
        """Return what this scope and those nested in it came to, by model, tool and label. No I/O."""
        return summary(self._state)

    # ------------------------------------------------------------------------- changing

    def iteration(self) -> Iteration:
        """Count a turn of the run's loop against `max_iterations`: `with run.iteration():`, also `async with`."""
        return Iteration(self._state)

    def iterations(self) -> Iterations:
        """Count the turns of the run's loop, as long as they are allowed: `for turn in run.iterations():`."""
        return Iterations(self._state)

    def halt(self, reason: str) -> None:
        """Stop the run this scope is in, in every process that works in it; its calls raise `RunHalted` from now on.

        Raises:
            InvalidInput: the scope is in no run, or no reason is given.
        """
        run_sync(halt_run(self._run_to_halt(reason), reason), self._state.services.store)

    async def ahalt(self, reason: str) -> None:
        """Stop the run this scope is in, in an event loop."""
        await run_async(halt_run(self._run_to_halt(reason), reason), self._state.services.store)

    def reset(self, *, reason: str, budget: str | None = None) -> list[AccountReset]:
        """Set back to nothing spent: the scope's own limits and those of the run it opened, or one budget's account.

        What is held stays held. Thresholds may fire again, wall clocks begin anew, and a run that was halted goes on in
        this process. The books count what was taken back as refunded, and the event stream says why.

        Args:
            reason: why; it stays on record.
            budget: id of the policy's budget whose account over this scope is meant.

        Returns:
            One record for each account.

        Raises:
            InvalidInput: no reason, or no such account.
            StoreUnavailable: the books could not be reached.
        """
        return run_sync(reset(self._state, reason, budget), self._state.services.store)

    async def areset(self, *, reason: str, budget: str | None = None) -> list[AccountReset]:
        """Set back to nothing spent, in an event loop."""
        return await run_async(reset(self._state, reason, budget), self._state.services.store)

    def _run_to_halt(self, reason: str) -> Run:
        run = self._state.run
        if run is None or not reason:
            what = "say why, for those who find it halted" if not reason else "this scope is in no run"
            msg = f"halt({reason!r}): {what}"
            raise InvalidInput(msg)
        return run

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={value!r}" for name, value in self.labels.items())
        return f"<Scope {labels}{' closed' if self.closed else ''}>"


def facade_of(state: ScopeState) -> Scope:
    """Return what the user holds of a scope: the same object as long as it is held."""
    known: Scope | None = None if state.facade is None else state.facade()
    if known is None:
        known = Scope(state)
        state.facade = weakref.ref(known)
    return known


def state_of(scope: Scope) -> ScopeState:
    """Return what stands behind a scope, for the other rooms of this package."""
    return scope._state  # noqa: SLF001 - its own module
