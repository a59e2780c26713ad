"""What a user does with an open scope beside making calls in it: look, count turns, stop the run, set back."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, cast

from costscope.engine.run.halting import order_to_stop
from costscope.engine.run.iterations import Iteration, Iterations
from costscope.engine.state.activity import joined, past_of
from costscope.errors import InvalidInput
from costscope.pricing.money import currency
from costscope.scope.readings import Readings
from costscope.scope.report import ScopeReport
from costscope.scope.reset import reset
from costscope.scope.summary import ScopeSummary, summarised
from costscope.stores.effects import arun, run

if TYPE_CHECKING:
    from costscope.engine.state.activity import History, Past
    from costscope.engine.state.run import Run
    from costscope.observe.events.records import AccountReset
    from costscope.observe.telemetry import ScopeTotals
    from costscope.scope.scope import Scope

__all__ = ["Handle"]


class Handle(Readings):
    """The part of a scope that its user calls."""

    __slots__ = ()

    parent: Scope | None
    children: list[Scope]
    more_children: int
    closed: bool
    totals: ScopeTotals
    history: History
    opened_s: float
    ended_s: float

    @property
    def opens_run(self) -> bool:
        """True if entering it is the admission of a run."""
        return self.run is not None and (self.parent is None or self.parent.run is None)

    @property
    def _scope(self) -> Scope:
        return cast("Scope", self)  # there is no other kind

    # ------------------------------------------------------------------------- looking

    def report(self) -> ScopeReport:
        """The tree of this scope and those nested in it, with every account; `str()` draws it. No I/O."""
        return ScopeReport(
            labels=dict(self.labels),
            own={
                name: value
                for name, value in self.labels.items()
                if self.parent is None or name not in self.parent.labels
            },
            spent=self.spent,
            held=self.held,
            closed=self.closed,
            accounts=tuple(self.balances()),
            children=tuple(child.report() for child in self.children),
            more_children=self.more_children,
        )

    def summary(self) -> ScopeSummary:
        """What this scope and those nested in it came to, by model, tool and label. No I/O."""
        run, spent = self.run, self._own_cost()
        seconds = (self.ended_s or monotonic()) - self.opened_s
        limits = [row.limit for row in self.balances() if row.meter == "cost" and row.budget.startswith("~")]
        return summarised(
            self.past(),
            labels=self.labels,
            run=run.name if run is not None else None,
            status=run.status if run is not None else None,
            spent=currency(spent[0]),
            held=currency(spent[1]),
            limit=min(limits, default=None),
            remaining=self.remaining,
            iterations=run.iterations if run is not None else 0,
            seconds=seconds,
        )

    def past(self) -> Past:
        """What has happened here so far, in scopes that are open as well."""
        closed = self.history.all()
        inside = [child.past() for child in self.children if not child.closed]
        return joined((closed, past_of(self.totals.peek(), self.labels), *inside))

    # ------------------------------------------------------------------------- changing

    def iteration(self) -> Iteration:
        """One turn of the run's loop, counted against `max_iterations`: `with run.iteration():`, also `async with`."""
        return Iteration(self._scope)

    def iterations(self) -> Iterations:
        """The turns of the run's loop, as long as `max_iterations` allows: `for turn in run.iterations():`."""
        return Iterations(self._scope)

    def halt(self, reason: str) -> None:
        """Stop the run this scope is in, in every process that works in it; its calls raise `RunHalted` from now on.

        Raises:
            InvalidInput: the scope is in no run, or no reason is given.
        """
        run(order_to_stop(self._run_to_halt(reason), reason), self.runtime.store)

    async def ahalt(self, reason: str) -> None:
        """`halt` for an event loop."""
        await arun(order_to_stop(self._run_to_halt(reason), reason), self.runtime.store)

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
        return run(reset(self._scope, reason, budget), self.runtime.store)

    async def areset(self, *, reason: str, budget: str | None = None) -> list[AccountReset]:
        """`reset` for an event loop."""
        return await arun(reset(self._scope, reason, budget), self.runtime.store)

    def begin_anew(self) -> None:
        """The scope's own limits were set back."""
        if self.tally is not None:
            self.tally.spent = 0
        if self.opens_run and self.run is not None:
            self.run.begin_anew()

    def _run_to_halt(self, reason: str) -> Run:
        if self.run is None or not reason:
            what = "say why, for whoever finds it halted" if not reason else "this scope is in no run"
            msg = f"halt({reason!r}): {what}"
            raise InvalidInput(msg)
        return self.run
