"""One metered call without any I/O: open -> reserve command; opened -> run; close -> commit or release.

Sync functions, coroutines, generators, streams and plain `reserve` blocks are drivers of this one object; they
differ only in how they wait for the store.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from costscope.call.refusals import exceeded, unscoped
from costscope.errors import AmountOverflow, HoldClosed, HoldMismatch, StoreUnavailable
from costscope.ledger import Commit, Outcome, Release, Reserve, id_from_key, new_id
from costscope.scope.scope import innermost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.estimate import Estimate
    from costscope.ledger import Account, Amounts, OnLost, Reply
    from costscope.prices import Price
    from costscope.runtime.runtime import Runtime
    from costscope.scope.scope import Scope
    from costscope.telemetry import CallKind, CallOutcome, Settlement
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
    hold_id: str = ""
    outcome: CallOutcome = "ok"
    over: bool = False
    """Settled by way of an exception: nothing is left to rescue."""
    price: Price | None = None
    """What settles the call, the same object that its estimate was made with."""
    units: int = 0
    usage: Usage | None = None

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

    def covers(self, kind: CallKind, scope: Scope) -> bool:
        """True if a call of this kind and scope is inside this one or those around it, and so charged already."""
        call: Call | None = self
        while call is not None:
            if call.kind == kind and call.scope is scope:
                return True
            call = call.outer
        return False

    # ------------------------------------------------------------------- reserve

    def opening(self) -> Reserve | None:
        """The command that holds the estimate; None when no budget covers the scope and nothing is to be held."""
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
        if not estimate.units_max:
            return Reserve(self.hold_id, self.accounts, estimate.amounts, runtime.lease_ms, self.on_lost)
        return Reserve(
            self.hold_id,
            self.accounts,
            {**dict.fromkeys(estimate.step, 0), **estimate.amounts},
            runtime.lease_ms,
            self.on_lost,
            estimate.step,
            estimate.units_min,
            estimate.units_max,
        )

    def opened(self, reply: Reply) -> Reserve | None:
        """Take the store's answer: None when the hold stands, else the command to try next.

        Raises:
            BudgetExceeded: a limit stands in the way.
            HoldMismatch: the idempotency key was used for another call.
        """
        outcome = reply.outcome
        if outcome is _GRANTED:
            if reply.units or self.scope.tallies:
                self._granted(reply.units)
            if reply.balances:
                self.scope.seen(self.accounts, reply)
            return None
        if outcome is Outcome.WRONG_WINDOW and self.attempts < _WINDOW_ATTEMPTS:
            self.runtime.learn_time(reply.now_ms)
            return self.opening()
        if outcome is Outcome.CANCELLED and self.key is not None and self.attempts < _KEY_ATTEMPTS:
            return self.opening()  # an earlier call with this key was not billed: this one stands for itself
        if outcome is Outcome.DENIED:
            self.scope.seen(self.accounts, reply)
            error = exceeded(self, reply)
            self.scope.totals.denial(error.kind, error.budget, error.meter)
            raise error
        raise self._refused(reply)

    def unreachable(self, error: StoreUnavailable) -> None:
        """Give back a reserve that may or may not have been applied; refuse, or go on if all budgets fail open.

        Raises:
            StoreUnavailable: some budget over the scope says `on_outage: closed`.
        """
        if self.hold_id:
            self.runtime.outbox.put(self.releasing())
        if not self.scope.fail_open or self.runtime.outbox.full:
            self.scope.totals.denial("unavailable")
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
        if self.hold_id and not self.closed:
            self.closed = True
            self.runtime.outbox.put(self.releasing())

    # -------------------------------------------------------------------- settle

    def committing(self, actual: Mapping[str, int] | None) -> Commit | None:
        """The command that settles with what the call really took; None charges what was held."""
        amounts = self.amounts if actual is None else dict(actual)
        cost = amounts.get("cost", 0)
        self._close(cost)
        if not self.accounts:
            self.scope.totals.call(self.kind, self.name, self.outcome, cost, self.usage)
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
        return self.releasing() if self.accounts else None

    def settled(self, reply: Reply, command: Commit | Release) -> None:
        """Take the store's answer to a settlement.

        Raises:
            AmountOverflow: the books cannot take a sum above 2^53-1.
            HoldMismatch: the hold was settled with something else.
        """
        outcome = reply.outcome
        if reply.balances:
            self.scope.seen(self.accounts, reply)
        scope = self.scope
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
        if scope.closed:  # a stream that outlived its scope
            self.runtime.telemetry.record(scope.labels, scope.totals)

    def counted(self, command: Commit, settlement: Settlement | None) -> None:
        """Tell the scope's totals of a commit; without a settlement it waits to be sent."""
        totals, cost = self.scope.totals, command.amounts.get("cost", 0)
        overrun = 0 if command.amounts is self.amounts else cost - self.amounts.get("cost", 0)
        if settlement == "committed" and overrun <= 0:
            totals.committed(self.kind, self.name, self.outcome, cost, self.usage)
            return
        totals.call(self.kind, self.name, self.outcome, cost, self.usage)
        if settlement is not None:
            totals.settlement(settlement, max(overrun, 0))

    # ------------------------------------------------------------------- details

    def _granted(self, units: int) -> None:
        self.units = units
        if units:
            step = self.estimate.step
            amounts = self.estimate.amounts
            self.amounts = {m: amounts.get(m, 0) + units * step.get(m, 0) for m in {**amounts, **step}}
        for tally in self.scope.tallies:
            tally.hold(self.amounts.get("cost", 0))

    def _close(self, cost: int) -> None:
        if self.closed:
            msg = f"{self.kind} {self.name}: the hold is settled already"
            raise HoldClosed(msg)
        self.closed = True
        for tally in self.scope.tallies:
            tally.settle(self.amounts.get("cost", 0), cost)

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
