"""One metered call without any I/O: open -> reserve command; opened -> run; close -> commit or release.

Sync functions, coroutines, generators, streams and plain `reserve` blocks are drivers of this one object; they
differ only in how they wait for the store.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

from costscope.call.refusals import exceeded, unscoped
from costscope.call.tell import tell_above, tell_late, tell_refused, tell_settled
from costscope.errors import AmountOverflow, CallDenied, HoldClosed, HoldMismatch, StoreUnavailable
from costscope.ledger import Commit, Outcome, Release, Reserve, id_from_key, new_id
from costscope.run.heart import awake_s
from costscope.scope.scope import innermost
from costscope.stores.steps import Wake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.call.clocks import Late
    from costscope.call.patience import Patience
    from costscope.call.routed import Detour
    from costscope.control.routing import Routing
    from costscope.control.runaway import Suspicion
    from costscope.errors import BudgetExceeded
    from costscope.estimate import Estimate
    from costscope.ledger import Account, Amounts, OnLost, Reply
    from costscope.policy.controls import OnDenied
    from costscope.policy.coverage import Watched
    from costscope.prices import Price
    from costscope.run.heart import Beat
    from costscope.runtime.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.scope.watch import Watch
    from costscope.telemetry import CallKind, CallOutcome, Settlement, SpanHandle
    from costscope.usage import Usage

__all__ = ["KEY_KEEP_MS", "Call", "scope_for"]

KEY_KEEP_MS: Final = 24 * 3_600_000
"""How long an idempotency key is remembered: a task queue redelivers within a day."""

_KEY_ATTEMPTS: Final = 16
_WINDOW_ATTEMPTS: Final = 3
_GRANTED: Final = Outcome.GRANTED
_COMMITTED: Final = Outcome.COMMITTED  # looked at first: the hash of an enum's member is computed in Python
_SETTLED: Final[dict[Outcome, Settlement]] = {
    Outcome.COMMITTED: "committed",
    Outcome.LATE: "late",
    Outcome.ORPHAN: "orphan",
    Outcome.RELEASED: "released",
}

log = logging.getLogger("costscope")


def scope_for(runtime: Runtime) -> Scope:
    """The scope a call made now belongs to.

    Raises:
        CallUnscoped: there is none, and the policy does not allow that.
    """
    scope = innermost(runtime)
    if scope is not None:
        return scope
    if runtime.unscoped == "allow":
        return runtime.outside
    raise unscoped()


class Call:
    """The life of one reservation, from the estimate to its settlement. Used by one thread or task at a time."""

    # What a plain call never changes stands on the class: one is made for every call, and each attribute counts.
    accounts: tuple[Account, ...] = ()
    attempts: int = 0
    closed: bool = False
    cost: int = 0
    """What it was charged, once it is closed, in nano-units."""
    hold_id: str = ""
    outcome: CallOutcome = "ok"
    over: bool = False
    """Settled by way of an exception: nothing is left to rescue."""
    price: Price | None = None
    """What settles the call, the same object that its estimate was made with."""
    tier: str | None = None
    """The service tier it states."""
    told: bool = False
    """This process has heard of its end."""
    units: int = 0
    usage: Usage | None = None

    # What only calls have over which policies act.
    asked: str = ""
    """The model that was asked for, where the call went to another one."""
    below: Watch | Literal["unknown"] | None = "unknown"
    """The marks over it, once nothing there was at a level of interest and its own hold brought nothing there."""
    degraded: tuple[str, ...] = ()
    """The budgets that let it through above their limit."""
    digest: int = 0
    error: BaseException | None = None
    """What the function raised, for the span."""
    failed: bool | None = False
    """The function raised; None if that says nothing about it: it was cancelled, or a call inside was refused."""
    capped: int | None = None
    """The output cap that a route or a threshold has put on it."""
    detour: Detour | None = None
    """The other ways it may take, where policies have something to say about that."""
    fell_back: bool = False
    """It was refused where it was to go, and went to a fallback."""
    late: tuple[Late, ...] = ()
    """The budgets whose time is over, and that let it through."""
    moved: bool = False
    """Its settlement may have taken an account across a mark."""
    on_denied: OnDenied | None = None
    paced: bool = False
    """It has waited for its turn in the budgets that are throttled."""
    refused: BudgetExceeded | None = None
    """What its first attempt met, not yet raised."""
    rewritten: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """The arguments it is made with, where a route changed them."""
    routing: Routing | None = None
    saved: int | None = None
    """What it costs less by that, at most, in nano-units."""
    sent_again: bool = False
    """Its first hold was given back, since it has shown that others have passed a threshold."""
    sent_s: float = 0.0
    """When its hold was asked for, by `awake_s`."""
    beat: Beat | None = None
    """It holds one of a limited number of places, kept up by the heart."""
    span: SpanHandle | None = None
    stage: str | None = None
    tallied: bool = False
    suspicion: Suspicion | None = None
    """Something the run's detector says about it, not yet acted on."""
    noted: Wake | None = None
    """Called when the board has been told of that call, where it is waited for."""

    def __init__(
        self,
        scope: Scope,
        kind: CallKind,
        name: str,
        estimate: Estimate,
        on_lost: OnLost = "charge",
        key: str | None = None,
        outer: Call | None = None,
    ) -> None:
        self.scope = scope
        self.runtime = scope.runtime
        self.kind = kind
        self.name = name
        self.estimate = estimate
        self.amounts: Amounts = estimate.amounts
        """What is held, once the reserve was granted."""
        self.on_lost = on_lost
        self.key = key
        self.outer = outer
        self.began_s = perf_counter()

    @property
    def guided(self) -> bool:
        """Something beside limits has a say in it, and it may have to wait."""
        return self.scope.acts or self.on_denied is not None

    def covers(self, kind: CallKind, scope: Scope) -> bool:
        """True if a call of this kind and scope is inside this one or those around it, and so charged already."""
        call: Call | None = self
        while call is not None:
            if call.kind == kind and call.scope is scope:
                return True
            call = call.outer
        return False

    def begin_span(self) -> None:
        """Where the runtime traces: from here to the settlement."""
        spans = self.runtime.spans
        if spans is None:
            return
        price = self.price
        self.span = spans.start(
            self.kind,
            self.name,
            self.scope.labels,
            provider=price.provider if price is not None else None,
            has_output=price is None or price.has_output,
        )

    def enter_span(self) -> None:
        """Where the runtime traces: what runs now is a part of the call's span."""
        if self.span is not None:
            self.span.enter()

    def leave_span(self) -> None:
        """What runs now is not; does nothing the second time."""
        if self.span is not None:
            self.span.leave()

    # ------------------------------------------------------------------- reserve

    def opening(self, patience: Patience | None = None) -> Reserve | None:
        """The command that holds the estimate; None when no budget covers the scope and nothing is to be held.

        Args:
            patience: the caller's place in the queues of the accounts, if it waits.
        """
        runtime, scope, estimate = self.runtime, self.scope, self.estimate
        self.attempts += 1
        now_ms = runtime.now_ms()
        self.accounts = scope.accounts(now_ms)
        if not self.accounts:
            self._granted(estimate.units_max)
            return None
        if runtime.outbox.full:
            msg = f"{len(runtime.outbox)} settlements wait for {runtime.store.url}; no new call until it takes them"
            raise StoreUnavailable(msg)
        if self.key is None:
            self.hold_id = new_id(now_ms)
        else:
            self.hold_id = id_from_key(f"{self.attempts}:{self.key}")
        if not estimate.units_max and not scope.acts and patience is None:
            return Reserve(self.hold_id, self.accounts, estimate.amounts, runtime.lease_ms, self.on_lost)
        lease_ms = runtime.lease_ms
        if scope.takes_slot:
            lease_ms, self.sent_s = runtime.heart.lease_ms, awake_s()
        amounts = {**estimate.amounts, **scope.extra}
        if not estimate.units_max and patience is None:
            return Reserve(self.hold_id, self.accounts, amounts, lease_ms, self.on_lost)
        return Reserve(
            self.hold_id,
            self.accounts,
            {**dict.fromkeys(estimate.step, 0), **amounts},
            lease_ms,
            self.on_lost,
            estimate.step,
            estimate.units_min,
            estimate.units_max,
            patience.ticket if patience is not None else "",
            patience.asks(self.accounts) if patience is not None else 0,
        )

    def opened(self, reply: Reply) -> Reserve | None:
        """Take the store's answer: None when the hold stands, else the command to try next.

        Where policies act, a limit that stands in the way is left in `refused`: something may be done about it.

        Raises:
            BudgetExceeded: a limit stands in the way.
            HoldMismatch: the idempotency key was used for another call.
        """
        outcome = reply.outcome
        if outcome is _GRANTED:
            scope = self.scope
            if reply.units or scope.tallies:
                self._granted(reply.units)
            if scope.takes_slot:
                self.beat = self.runtime.heart.add(self.hold_id, self.sent_s, strict=not scope.fail_open)
            if reply.balances:
                scope.seen(self.accounts, reply)
                self.below = "unknown"
            elif scope.watch is not self.below and scope.watch is not None:
                scope.watch.below(self.taken)
            return None
        if outcome is Outcome.WRONG_WINDOW and self.attempts < _WINDOW_ATTEMPTS:
            self.runtime.learn_time(reply.now_ms)
            return self.opening()
        if outcome is Outcome.CANCELLED and self.key is not None and self.attempts < _KEY_ATTEMPTS:
            return self.opening()  # an earlier call with this key was not billed: this one stands for itself
        if outcome is Outcome.DENIED:
            refusal = self.refusal(reply)
            if not self.scope.acts and self.on_denied is None:
                raise refusal
            self.refused = refusal
            return None
        raise self._refused(reply)

    def refusal(self, reply: Reply) -> BudgetExceeded:
        """What a `DENIED` reply says, as the exception to raise."""
        self.scope.seen(self.accounts, reply)
        return exceeded(f"{self.kind} {self.name}", self.accounts, reply)

    def redirect(self, error: BudgetExceeded) -> bool:
        """Send the call to a cheaper model where the budget that refuses it wants that; say whether there is one."""
        budget = self.runtime.budget(error.budget)
        if budget is None or budget.on_limit != "downgrade_then_reject" or self.detour is None:
            return False
        return self.detour.fall_back(self)

    def above(self, watch: Watch, over: tuple[Watched, ...]) -> None:
        """The hold stands above the limit of budgets that let calls through."""
        taken = self.taken
        above = [watched for watched in over if watched.mark.meter in taken]
        self.degraded += tuple(
            watched.budget.id for watched in above if watched.budget.enforcement != "shadow"
        )
        for watched in above:
            tell_above(self.scope, self.kind, self.name, watch, watched, taken[watched.mark.meter])

    def too_late(self) -> None:
        """It is made after the time of budgets that let calls through."""
        self.degraded += tuple(late.budget.id for late in self.late if late.budget.enforcement != "shadow")
        for late in self.late:
            tell_late(self.scope, self.kind, self.name, late)

    @property
    def taken(self) -> Amounts:
        """All that its hold takes, its slot included."""
        return {**self.amounts, **self.scope.extra}

    def expected(self, meter: str) -> int:
        """What such a call usually uses of a meter; what it holds, as long as none has been seen."""
        return self.runtime.usual.of(self.name, meter) or self.amounts.get(meter, 0)

    def denied(self, error: CallDenied) -> None:
        """Count a refusal, and tell of it."""
        scope = self.scope
        scope.totals.denial(
            error.kind, getattr(error, "budget", None), getattr(error, "meter", None), self.kind
        )
        if self.span is not None and self.runtime.spans is not None:
            self.runtime.spans.refuse(self.span, error)
        tell_refused(scope, self.kind, self.name, error)

    def unreachable(self, error: StoreUnavailable) -> None:
        """Give back a reserve that may or may not have been applied; refuse, or go on if all budgets fail open.

        Raises:
            StoreUnavailable: some budget over the scope says `on_outage: closed`.
        """
        if self.hold_id:
            self.runtime.outbox.put(self.releasing())
        if not self.scope.fail_open or self.runtime.outbox.full:
            raise error
        log.warning(
            "%s does not answer; %s %s runs unreserved (on_outage: open)",
            self.runtime.store.url,
            self.kind,
            self.name,
        )
        self._granted(self.estimate.units_max)

    def abandon(self) -> None:
        """The reserve was interrupted before its answer came: whatever became of it, it shall hold nothing."""
        if self.closed:
            return
        self.unopened(None)
        if self.hold_id:
            self.closed = True
            self.take_back()

    def came_too_late(self) -> bool:
        """Give the hold back if the slot in it may be another's by now: this process has slept since it asked."""
        if self.beat is None or not self.beat.lost:
            return False
        self.take_back()
        return True

    def take_back(self) -> None:
        """The hold is not needed, whatever became of its reserve."""
        self.runtime.outbox.put(self.taking_back())

    def taking_back(self) -> Release:
        """The command that gives the hold back, as if it had never been asked for."""
        self._keep_up_no_more()
        if self.tallied:
            self.tallied = False
            for tally in self.scope.tallies:
                tally.settle(self.amounts.get("cost", 0), 0)
        return self.releasing()

    def unopened(self, error: BaseException | None) -> None:
        """It will not be made, though nothing has refused it."""
        if self.span is not None:
            self.error = error
            self._end_span(0, "error")

    # -------------------------------------------------------------------- settle

    def committing(self, actual: Mapping[str, int] | None) -> Commit | None:
        """The command that settles with what the call really took; None charges what was held."""
        amounts = self.amounts if actual is None else dict(actual)
        cost = amounts.get("cost", 0)
        self._close(cost)
        if not self.accounts:
            seconds = perf_counter() - self.began_s
            self.scope.totals.call(self.kind, self.name, self.outcome, cost, self.usage, seconds)
            if self._is_watched():
                self._ended(cost, amounts)
            return None
        keep_ms = self.runtime.store.keep_ms if self.key is None else KEY_KEEP_MS
        return Commit(self.hold_id, self.accounts, amounts, keep_ms)

    def charging(self) -> Commit | None:
        """The command that charges what was held, for a call whose own settlement was interrupted."""
        keep_ms = self.runtime.store.keep_ms if self.key is None else KEY_KEEP_MS
        return Commit(self.hold_id, self.accounts, self.amounts, keep_ms) if self.accounts else None

    def releasing(self) -> Release:
        """The command that gives the hold back."""
        keep_ms = self.runtime.store.keep_ms if self.key is None else KEY_KEEP_MS
        return Release(self.hold_id, self.accounts, keep_ms)

    def giving_back(self) -> Release | None:
        """`releasing`, as the end of the call: nothing was billed."""
        self._close(0)
        if self.accounts:
            return self.releasing()
        if self._is_watched():
            self._ended(0, {})
        return None

    def raised(self, error: BaseException) -> None:
        """The function has raised."""
        self.outcome = "error"
        self.failed = True if isinstance(error, Exception) and not isinstance(error, CallDenied) else None
        if self.span is not None:
            self.error = error

    def settled(self, reply: Reply, command: Commit | Release) -> None:
        """Take the store's answer to a settlement.

        Raises:
            AmountOverflow: the books cannot take a sum above 2^53-1.
            HoldMismatch: the hold was settled with something else.
        """
        outcome, scope = reply.outcome, self.scope
        if reply.balances:
            scope.seen(self.accounts, reply)
            self.below = "unknown"
        if outcome is _COMMITTED and not scope.closed:
            assert type(command) is Commit, "a release is never answered like this"
            self.counted(command, "committed")
            return
        settlement = _SETTLED.get(outcome)
        if settlement is None:
            if outcome is Outcome.MISMATCH and self.key is not None:
                return  # a redelivered task: the first settlement of this key stands
            raise self._refused(reply)
        if type(command) is Commit:
            self.counted(command, settlement)
        else:
            scope.totals.settlement(settlement)
            self._ended(0, {})
        if scope.closed:  # a stream that outlived its scope
            scope.record_late()

    def unsent(self, command: Commit | Release) -> None:
        """The settlement waits to be sent: for everybody in this process the call is over."""
        if self.told:
            return  # whoever sent it was interrupted by what it was told
        if type(command) is Commit:
            self.counted(command, None)
        else:
            self._ended(0, {})

    def counted(self, command: Commit, settlement: Settlement | None) -> None:
        """Tell the scope's totals of a commit; without a settlement it waits to be sent."""
        self.told = True
        totals, cost = self.scope.totals, command.amounts.get("cost", 0)
        overrun = 0 if command.amounts is self.amounts else cost - self.amounts.get("cost", 0)
        seconds = perf_counter() - self.began_s
        if settlement == "committed" and overrun <= 0:
            totals.committed(self.kind, self.name, self.outcome, cost, self.usage, seconds)
        else:
            totals.call(self.kind, self.name, self.outcome, cost, self.usage, seconds)
            if settlement is not None:
                totals.settlement(settlement, max(overrun, 0))
        runtime, scope = self.runtime, self.scope
        if (
            scope.acts or runtime.listens or runtime.waiting or scope.callbacks is not None
        ):  # as `_is_watched` has it
            self._ended(cost, command.amounts)

    # ------------------------------------------------------------------- details

    def _is_watched(self) -> bool:
        scope, runtime = self.scope, self.runtime
        return bool(scope.acts or runtime.listens or runtime.waiting or scope.callbacks is not None)

    def _ended(self, cost: int, actual: Amounts) -> None:
        """The hold is settled: for whoever waits for what it gave back, or watches what calls do."""
        self.told = True
        runtime, scope, run = self.runtime, self.scope, self.scope.run
        if runtime.waiting:
            runtime.waiting.nudge(self.accounts)
        if self.kind == "model" and self.failed is not None and runtime.router.watches:
            now_s = perf_counter()
            runtime.health.saw(self.name, now_s, now_s - self.began_s, failed=self.failed)
        if run is not None:
            run.cost += cost
            detector = run.detector
            if detector is not None:
                now_ms = int(perf_counter() * 1000)
                self.suspicion = detector.settled(self.digest, cost, now_ms, failed=self.failed)
                if detector.shared:
                    self.noted = Wake() if self.suspicion is not None else None
                    runtime.notes.put(run, scope, self.digest, cost, failed=self.failed, wake=self.noted)
                if detector.brakes:
                    runtime.usual.saw(self.name, cost, self.usage)
        watch = scope.watch
        if watch is not None:
            if watch.throttles:
                runtime.usual.saw(self.name, cost, self.usage)
            # The memory store tells of a reserve that comes to a level, and not of a commit that takes more.
            overran = (
                actual is not self.amounts and not runtime.store.waits and watch.over(actual, self.amounts)
            )
            self.moved = overran or (watch is not self.below and watch.above())
        if runtime.listens or scope.callbacks is not None:
            tell_settled(self, cost)

    def _granted(self, units: int) -> None:
        self.units = units
        if units:
            step = self.estimate.step
            amounts = self.estimate.amounts
            self.amounts = {m: amounts.get(m, 0) + units * step.get(m, 0) for m in {**amounts, **step}}
        if self.scope.tallies:
            self.tallied = True
            for tally in self.scope.tallies:
                tally.hold(self.amounts.get("cost", 0))

    def _keep_up_no_more(self) -> None:
        if self.beat is not None:
            self.beat = None
            self.runtime.heart.drop(self.hold_id)

    def _close(self, cost: int) -> None:
        if self.closed:
            msg = f"{self.kind} {self.name}: the hold is settled already"
            raise HoldClosed(msg)
        self.closed, self.cost = True, cost
        if self.beat is not None:
            self._keep_up_no_more()
        for tally in self.scope.tallies:
            tally.settle(self.amounts.get("cost", 0), cost)
        if self.span is not None:
            self._end_span(cost, self.outcome)

    def _end_span(self, cost: int, outcome: CallOutcome) -> None:
        spans, handle = self.runtime.spans, self.span
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
            error=self.error,
        )

    def _refused(self, reply: Reply) -> Exception:
        outcome = reply.outcome
        what = f"{self.kind} {self.name}, hold {self.hold_id}"
        if outcome is Outcome.OVERFLOW:
            msg = f"{what}: a sum would pass 2^53-1, the most a ledger counts; nothing was entered"
            return AmountOverflow(msg)
        if outcome is Outcome.MISMATCH:
            msg = f"{what}: this id or idempotency key was used with another payload; use another key for another call"
            return HoldMismatch(msg)
        msg = f"{what}: the store answered {outcome.name.lower()}, its clock does not agree with the proposed window"
        return StoreUnavailable(msg)
