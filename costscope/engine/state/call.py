"""One metered call: what was asked, where a route sent it, what policies did about it, and how it ended.

A call owns its life, and is a hold. Drivers (functions, coroutines, generators, streams, blocks, hooks) differ in how
they wait; they say what happened, and no other module writes a field of it. It has no finalizer:
an interrupt that came in one would be lost. What outlives the function that made it (a stream, a generator, a block)
has one, and settles it.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from costscope.background.heartbeat import awake_s
from costscope.engine.state.hold import ASKED, HELD, OVER, SETTLING, Hold, log
from costscope.errors import CallDenied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.control.router import Routing
    from costscope.engine.state.level_watch import Late
    from costscope.engine.state.route import Route, Routes
    from costscope.engine.state.scope_state import ScopeState
    from costscope.errors import BudgetExceeded
    from costscope.ledger import Commit, OnLost, Release
    from costscope.observe.telemetry.totals import CallKind, CallOutcome
    from costscope.policy.model.controls import OnDenied
    from costscope.pricing.estimate.amounts import Estimate
    from costscope.pricing.prices.option import Price
    from costscope.pricing.usage.usage_fields import Usage


class Call(Hold):
    """The life of one metered call, from the estimate to its settlement. Used by one thread or task at a time."""

    # What a plain call never changes stands on the class: one is made for every call, and each attribute counts.

    # What was asked.
    price: Price | None = None
    """What settles the call, the same object that its estimate was made with."""
    tier: str | None = None
    """The service tier it states."""
    stage: str | None = None
    digest: int = 0
    """Of its arguments, where the run is watched for calls that repeat one another."""

    # Where a route sent it.
    routes: Routes | None = None
    """The ways it may take, where policies have something to say about that."""
    routing: Routing | None = None
    """The one it goes."""
    route: Route | None = None
    """The same with its price, where it differs from what was asked."""
    fell_back: bool = False
    """It was refused where it was to go, and went to a fallback."""

    # What policies did about it.
    paced: bool = False
    """It has waited for its turn in the budgets that are throttled."""
    rechecked: bool = False
    """Its first hold was given back, since it has shown that others have passed a threshold."""
    late: tuple[Late, ...] = ()
    """The budgets whose time is over, and that let it through."""
    degraded: tuple[str, ...] = ()
    """The budgets that let it through above their limit."""

    # How it ended.
    error: BaseException | None = None
    """What the function raised, for the span."""
    failed: bool | None = False
    """The function raised; None if that says nothing about it: it was cancelled, or a call inside was refused."""

    def __init__(
        self,
        scope: ScopeState,
        kind: CallKind,
        name: str,
        estimate: Estimate,
        on_lost: OnLost = "charge",
        key: str | None = None,
        outer: Call | None = None,
        price: Price | None = None,
        tier: str | None = None,
    ) -> None:
        self.scope = scope
        self.services = scope.services
        self.estimate = estimate
        self.amounts = estimate.amounts
        self.on_lost = on_lost
        self.key = key
        self.kind = kind
        self.name = name
        self.outer = outer
        if price is not None:
            self.price = price
        if tier is not None:
            self.tier = tier
        self.began_s = perf_counter()

    # ------------------------------------------------------------------------------------ what was asked

    def describe(
        self, *, on_denied: OnDenied | None = None, stage: str | None = None, digest: int = 0
    ) -> None:
        """Take what only some calls have."""
        if on_denied is not None:
            self.on_denied = on_denied
        if stage is not None:
            self.stage = stage
        if digest:
            self.digest = digest

    def begin_span(self) -> None:
        """Trace the call from here to its settlement, where its runtime traces."""
        spans, price = self.services.spans, self.price
        if spans is not None:
            provider = price.provider if price is not None else None
            has_output = price is None or price.has_output
            self.span = spans.start(
                self.kind, self.name, self.scope.labels, provider=provider, has_output=has_output
            )

    def covers(self, kind: CallKind, scope: ScopeState) -> bool:
        """Return True if a call of this kind and scope is inside this one or those around it, and so charged already."""
        call: Call | None = self
        while call is not None:
            if call.kind == kind and call.scope is scope:
                return True
            call = call.outer
        return False

    @property
    def may_wait(self) -> bool:
        """Something beside limits has a say in it, and it may have to wait."""
        return self.scope.acts or self.on_denied is not None

    @property
    def asked(self) -> str:
        """The model that was asked for, where the call went to another one, or with a lower cap; else empty."""
        return "" if self.route is None else self.route.asked

    @property
    def closed(self) -> bool:
        """True once what it took is decided."""
        return self.phase >= SETTLING

    @property
    def over(self) -> bool:
        """True once nothing is left to be done about it."""
        return self.phase == OVER

    def usual_amount(self, meter: str) -> int:
        """Return what such a call usually uses of a meter; what it holds, as long as none has been seen."""
        return self.services.averages.of(self.name, meter) or self.amounts.get(meter, 0)

    # ---------------------------------------------------------------------------- where a route sends it

    def set_routes(self, routes: Routes, routing: Routing | None) -> None:
        """Take the ways it may take, and the one that it goes."""
        self.routes, self.routing = routes, routing

    def send_to(self, route: Route, *, fallback: bool = False) -> None:
        """Send the call another way, before anything is held for it."""
        assert self.phase == ASKED, "what is held is held for the model it was estimated for"
        self.route, self.routing = route, route.routing
        self.name, self.price, self.tier = route.model, route.price, route.tier
        self.estimate, self.amounts = route.estimate, route.estimate.amounts
        self.fell_back = self.fell_back or fallback
        self.attempts = 0

    def answered_by(self, model: str, price: Price | None) -> None:
        """Take the model that answered, if not the one it was sent to, with its price; None charges the hold."""
        self.name, self.price = model, price

    # --------------------------------------------------------------------------- what policies did about it

    def mark_paced(self) -> None:
        """Note that it has had its turn in the budgets that are throttled."""
        self.paced = True

    def mark_late(self, late: tuple[Late, ...]) -> None:
        """Note the budgets that let it through after their time."""
        self.late = late

    def mark_degraded(self, budgets: tuple[str, ...]) -> None:
        """Note budgets that let it through above their limit, or after their time."""
        self.degraded += budgets

    def take_refusal(self) -> BudgetExceeded | None:
        """Return what the last attempt met, once: another attempt may be made after it."""
        refused, self.refused = self.refused, None
        return refused

    def try_anew(self) -> None:
        """Count attempts from the beginning: something has changed since the last one."""
        self.attempts = 0

    def withdraw_once(self) -> Release:
        """Return `withdraw` for a call that is judged anew: once, or it might go to and fro around a level."""
        release = self.withdraw()
        self.hold_id, self.rechecked, self.attempts = "", True, 0
        return release

    # -------------------------------------------------------------------------- what becomes of its hold

    def on_store_away(self) -> bool:
        """Give back what the store may hold, and return whether the call goes on without a hold.

        It does where all budgets over the scope say `on_outage: open`.
        """
        outbox = self.services.outbox
        if self.hold_id:
            outbox.put(self._release())
        if not self.scope.fail_open or outbox.full:
            return False
        log.warning(
            "%s does not answer; %s runs unreserved (on_outage: open)", self.services.store.url, self.what
        )
        self._hold(self.estimate.units_max)
        return True

    def withdraw(self) -> Release:
        """Return the command that gives the hold back, as if it had never been asked for."""
        self.drop_lease()
        if self.phase == HELD:
            self.phase = ASKED
            for tally in self.scope.tallies:
                with tally.lock:
                    tally.held -= self.amounts.get("cost", 0)
        return self._release()

    def withdraw_late(self) -> bool:
        """Give the hold back if the slot in it may be another's by now: this process has slept since it asked."""
        if self.lease is None or awake_s() < self.lease.lost_at_s:
            return False
        self.services.outbox.put(self.withdraw())
        return True

    def abandon(self) -> None:
        """Give back what it holds or may hold: it will not be made, even where its reserve was granted."""
        if self.phase >= SETTLING:
            return
        self.end_span(0, "error")
        release = self.withdraw()
        self.phase = OVER
        if self.hold_id:
            self.services.outbox.put(release)

    # ------------------------------------------------------------------------------------- how it ends

    def fail(self, error: BaseException) -> None:
        """Take what the function raised."""
        self.outcome = "error"
        self.failed = True if isinstance(error, Exception) and not isinstance(error, CallDenied) else None
        if self.span is not None:
            self.error = error

    def fail_with_usage(self, error: BaseException) -> None:
        """Take what a call failed with whose usage is known all the same."""
        self.outcome, self.error = "error", error

    def commit_usage(self, actual: Mapping[str, int] | None, usage: Usage | None) -> Commit | None:
        """Return `commit_command` for amounts that were computed from a usage."""
        self.usage = usage
        return self.commit_command(actual)

    def end_span(self, cost: int, outcome: CallOutcome, error: BaseException | None = None) -> None:
        """End the call's span, where it is traced, at this cost in nano-units."""
        spans, handle = self.services.spans, self.span
        if spans is None or handle is None:
            return
        spans.end(
            handle,
            outcome=outcome,
            cost_nano=cost,
            held_nano=self.amounts.get("cost", 0),
            budgets=len(self.accounts),
            hold_id=self.hold_id,
            usage=self.usage,
            max_tokens=self.estimate.cap_for(self.units),
            asked=self.asked or None,
            degraded=bool(self.degraded),
            name=self.name,
            error=error or self.error,
        )
