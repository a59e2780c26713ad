"""A hold: amounts reserved in the accounts of a scope, from asking for them to their settlement.

It owns its life: `phase` says how far it has come and guards each step, so that nothing is settled twice. No method
waits for the store. Each gives the next command, or takes an answer:

    reserve_command -> on_reserve_reply -> commit_command or release_command -> on_settle_reply
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal

from costscope.background.heartbeat import awake_s
from costscope.engine.enforcement.refusals import budget_exceeded, contradicts
from costscope.errors import HoldClosed, StoreUnavailable
from costscope.ledger import Commit, Outcome, Release, Reserve, id_from_key, new_id
from costscope.ledger.times import KEY_KEEP_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.background.heartbeat import Lease
    from costscope.engine.enforcement.waiting import QueuePlace
    from costscope.engine.state.level_watch import Watch
    from costscope.engine.state.scope_state import ScopeState
    from costscope.engine.state.services import Services
    from costscope.errors import BudgetExceeded
    from costscope.ledger import Account, Amounts, OnLost, Reply
    from costscope.observe.telemetry.spans import SpanHandle
    from costscope.observe.telemetry.totals import CallKind, CallOutcome, Settlement
    from costscope.policy.model.controls import OnDenied
    from costscope.pricing.estimate.amounts import Estimate
    from costscope.pricing.usage.usage_fields import Usage

ASKED: Final = 0
"""Nothing is held."""
HELD: Final = 1
"""The hold stands."""
SETTLING: Final = 2
"""What it took is decided; the settlement is on its way."""
COUNTED: Final = 3
"""This process has counted it."""
OVER: Final = 4
"""The settlement has been answered, or is the outbox's: nothing is left to be done."""

_KEY_ATTEMPTS: Final = 16
_WINDOW_ATTEMPTS: Final = 3
_GRANTED: Final = Outcome.GRANTED  # looked at first: the hash of an enum's member is computed in Python
_COMMITTED: Final = Outcome.COMMITTED
_SETTLED: Final[dict[Outcome, Settlement]] = {
    Outcome.COMMITTED: "committed",
    Outcome.LATE: "late",
    Outcome.ORPHAN: "orphan",
    Outcome.RELEASED: "released",
}

log = logging.getLogger("costscope")


class Hold:
    """One reservation, and what it is settled with. Used by one thread or task at a time."""

    scope: ScopeState
    """Whose accounts it is held in."""
    services: Services
    kind: CallKind
    name: str
    """Of the model or tool."""
    began_s: float
    """By `perf_counter`."""
    estimate: Estimate
    amounts: Amounts
    """What is held, once the reserve was granted."""
    on_lost: OnLost
    """What becomes of it if this process dies."""
    key: str | None
    """What names it in every attempt, if it is to be settled once for all of them."""

    # What a plain call never changes stands on the class: one is made for every call, and each attribute counts.
    phase: int = ASKED
    accounts: tuple[Account, ...] = ()
    hold_id: str = ""
    units: int = 0
    attempts: int = 0
    lease: Lease | None = None
    """One of a limited number of slots is in it, kept up by the heartbeat."""
    sent_s: float = 0.0
    """When it was asked for, by `awake_s`."""
    on_denied: OnDenied | None = None
    """What a refusal leads to, if not what the budget says."""
    refused: BudgetExceeded | None = None
    """What the last attempt met, not yet raised: something may be done about it."""
    below: Watch | Literal["unknown"] | None = "unknown"
    """The levels over it, once nothing there was at a level of interest and it brought nothing there itself."""
    outcome: CallOutcome = "ok"
    usage: Usage | None = None
    settled: Amounts | None = None
    """What it was settled with, by meter; None while it is open, and if it was given back."""
    span: SpanHandle | None = None

    @property
    def what(self) -> str:
        """What it is held for, for errors."""
        return f"{self.kind} {self.name}"

    @property
    def _with_id(self) -> str:
        return f"{self.what}, hold {self.hold_id}"

    @property
    def taken(self) -> Amounts:
        """All that it takes, its slot included."""
        return {**self.amounts, **self.scope.extra}

    # -------------------------------------------------------------------------------------- reserving

    def stay_below(self, watch: Watch | None) -> None:
        """Note that nothing over it is at a level of interest."""
        self.below = watch

    def reserve_command(self, place: QueuePlace | None = None) -> Reserve | None:
        """Return the command that holds the estimate; None where no budget covers the scope: nothing is to be held.

        Args:
            place: the caller's place in the queues of the accounts, if it waits.

        Raises:
            StoreUnavailable: too many settlements wait for the store.
        """
        services, scope, estimate = self.services, self.scope, self.estimate
        assert self.phase == ASKED, "it holds once"
        self.attempts += 1
        now_ms = services.clock_ns() // 1_000_000 + services.ahead_ms
        self.accounts = accounts = scope.accounts(now_ms)
        if not accounts:
            self._hold(estimate.units_max)
            return None
        if services.outbox.full:
            msg = f"{len(services.outbox)} settlements wait for {services.store.url}; no new call until it takes them"
            raise StoreUnavailable(msg)
        self.hold_id = new_id(now_ms) if self.key is None else id_from_key(f"{self.attempts}:{self.key}")
        lease_ms, amounts = services.lease_ms, estimate.amounts
        if scope.acts:
            amounts = {**amounts, **scope.extra}
            if scope.takes_slot:
                lease_ms, self.sent_s = services.lease_renewer.lease_ms, awake_s()
        if not estimate.units_max and place is None:
            return Reserve(self.hold_id, accounts, amounts, lease_ms, self.on_lost)
        return Reserve(
            self.hold_id,
            accounts,
            {**dict.fromkeys(estimate.step, 0), **amounts},
            lease_ms,
            self.on_lost,
            estimate.step,
            estimate.units_min,
            estimate.units_max,
            place.ticket if place is not None else "",
            place.honour_ms(accounts) if place is not None else 0,
        )

    def on_reserve_reply(self, reply: Reply) -> Reserve | None:
        """Take the store's answer: None when the hold stands, else the command to try next.

        Raises:
            BudgetExceeded: a limit stands in the way.
            HoldMismatch: the idempotency key was used for another call.
        """
        outcome, scope = reply.outcome, self.scope
        if outcome is _GRANTED:
            self._hold(reply.units)
            if scope.takes_slot:
                renewer = self.services.lease_renewer
                self.lease = renewer.add(self.hold_id, self.sent_s, strict=not scope.fail_open)
            if reply.balances:
                scope.record_balances(self.accounts, reply)
                self.below = "unknown"
            elif scope.watch is not None and scope.watch is not self.below:
                scope.watch.below(self.taken)
            return None
        if outcome is Outcome.WRONG_WINDOW and self.attempts < _WINDOW_ATTEMPTS:
            self.services.learn_time(reply.now_ms)
            return self.reserve_command()
        if outcome is Outcome.CANCELLED and self.key is not None and self.attempts < _KEY_ATTEMPTS:
            # An earlier call with this key was not billed: this one stands for itself.
            return self.reserve_command()
        if outcome is Outcome.DENIED:
            scope.record_balances(self.accounts, reply)
            error = budget_exceeded(self.what, self.accounts, reply)
            if not scope.acts and self.on_denied is None:
                raise error
            self.refused = error
            return None
        raise contradicts(self._with_id, reply)

    def drop_lease(self) -> None:
        """Renew the slot it holds no more."""
        if self.lease is not None:
            self.lease = None
            self.services.lease_renewer.drop(self.hold_id)

    def _hold(self, units: int) -> None:
        self.phase = HELD
        if units:
            self.units = units
            step, amounts = self.estimate.step, self.estimate.amounts
            self.amounts = {m: amounts.get(m, 0) + units * step.get(m, 0) for m in {**amounts, **step}}
        for tally in self.scope.tallies:
            with tally.lock:
                tally.held += self.amounts.get("cost", 0)

    # --------------------------------------------------------------------------------------- settling

    def commit_command(self, actual: Mapping[str, int] | None = None) -> Commit | None:
        """Return the command that settles with what was really taken; None where no budget covers it.

        Args:
            actual: by meter; None charges what was held.

        Raises:
            HoldClosed: it is settled already.
        """
        amounts = self.amounts if actual is None else dict(actual)
        self._close(amounts)
        if not self.accounts:
            return None
        return Commit(self.hold_id, self.accounts, amounts, self._keep_ms())

    def release_command(self) -> Release | None:
        """Return the command that gives the hold back as the end of the call: nothing was billed.

        Raises:
            HoldClosed: it is settled already.
        """
        self._close(None)
        return self._release() if self.accounts else None

    def charge_command(self) -> Commit | None:
        """Return the command that charges what was held, also for a call whose own settlement was interrupted."""
        if self.phase < SETTLING:
            return self.commit_command()
        return Commit(self.hold_id, self.accounts, self.amounts, self._keep_ms()) if self.accounts else None

    @property
    def is_watched(self) -> bool:
        """True if its end is of interest: to callers that wait for what it gives back, policies or listeners."""
        scope, services = self.scope, self.services
        return bool(
            scope.acts or services.settled_listeners or services.wait_list or scope.callbacks is not None
        )

    def on_settle_reply(self, reply: Reply, command: Commit | Release) -> bool:
        """Take the store's answer to a settlement, and return True if the end is of interest, see `is_watched`.

        Raises:
            AmountOverflow: the books cannot take a sum above 2^53-1.
            HoldMismatch: the hold was settled with something else.
        """
        outcome = reply.outcome
        if reply.balances:
            self.scope.record_balances(self.accounts, reply)
            self.below = "unknown"
        settlement = "committed" if outcome is _COMMITTED else _SETTLED.get(outcome)
        if settlement is None:
            if outcome is Outcome.MISMATCH and self.key is not None:
                return False  # a redelivered task: the first settlement of this key stands
            raise contradicts(self._with_id, reply)
        watched, self.phase = self.is_watched, COUNTED
        self._count(command, settlement)
        return watched

    def on_deferred(self, command: Commit | Release | None) -> bool:
        """Count a settlement that waits to be sent, or for None one that nothing covers, unless that has been done.

        Returns:
            True if the end is of interest, see `is_watched`.
        """
        if self.phase >= COUNTED:
            return False
        self.phase = COUNTED
        self._count(command, None)
        return self.is_watched

    def take_over(self) -> bool:
        """Leave the settlement to the outbox; return True if this process has not counted it yet."""
        uncounted, self.phase = self.phase < COUNTED, OVER
        return uncounted

    def count_deferred(self, command: Commit | Release) -> None:
        """Count a settlement that the outbox has taken over."""
        self._count(command, None)

    def finish(self) -> None:
        """Note that its settlement is answered, or is the outbox's."""
        self.phase = OVER

    def _close(self, amounts: Amounts | None) -> None:
        if self.phase >= SETTLING:
            msg = f"{self.what}: the hold is settled already"
            raise HoldClosed(msg)
        self.phase = SETTLING
        cost = 0 if amounts is None else amounts.get("cost", 0)
        if self.lease is not None:
            self.drop_lease()
        for tally in self.scope.tallies:
            with tally.lock:
                tally.held -= self.amounts.get("cost", 0)
                tally.spent += cost
        self.settled = amounts
        if self.span is not None:
            self.end_span(cost, self.outcome)

    def end_span(self, cost: int, outcome: CallOutcome) -> None:
        """End its span, where it is traced, at this cost in nano-units."""
        raise NotImplementedError

    def _release(self) -> Release:
        return Release(self.hold_id, self.accounts, self._keep_ms())

    def _keep_ms(self) -> int:
        return self.services.store.keep_ms if self.key is None else KEY_KEEP_MS

    def _count(self, command: Commit | Release | None, settlement: Settlement | None) -> None:
        """Tell the scope's totals; without a settlement it waits to be sent, or nothing covers it."""
        scope, amounts = self.scope, self.settled
        totals = scope.totals
        if type(command) is Release or amounts is None:
            if settlement is not None:
                totals.add_settlement(settlement)
        else:
            if type(command) is Commit:
                amounts = command.amounts  # all that was held, where its own settlement was interrupted
            cost = amounts.get("cost", 0)
            overrun = 0 if amounts is self.amounts else cost - self.amounts.get("cost", 0)
            seconds = perf_counter() - self.began_s
            as_held = settlement == "committed" and overrun <= 0
            totals.add_call(self.kind, self.name, self.outcome, cost, self.usage, seconds, committed=as_held)
            if settlement is not None and not as_held:
                totals.add_settlement(settlement, max(overrun, 0))
        if settlement is not None and scope.closed:  # a stream that outlived its scope
            scope.record_late_call()
