"""The first phase of a call: the command that holds its estimate, and the answer to it. No I/O."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from costscope.background.heartbeat import awake_s
from costscope.engine.call.call_spans import unopened
from costscope.engine.call.settle import releasing
from costscope.engine.enforcement.refusals import contradicts, exceeded
from costscope.errors import StoreUnavailable
from costscope.ledger import Outcome, Reserve, id_from_key, new_id

if TYPE_CHECKING:
    from costscope.engine.enforcement.waiting import Patience
    from costscope.engine.state.call import Call
    from costscope.errors import BudgetExceeded
    from costscope.ledger import Release, Reply


_KEY_ATTEMPTS: Final = 16
_WINDOW_ATTEMPTS: Final = 3
_GRANTED: Final = Outcome.GRANTED

log = logging.getLogger("costscope")


def opening(call: Call, patience: Patience | None = None) -> Reserve | None:
    """The command that holds the estimate; None when no budget covers the scope and nothing is to be held.

    Args:
        call: not yet reserved.
        patience: the caller's place in the queues of the accounts, if it waits.
    """
    runtime, scope, estimate = call.runtime, call.scope, call.estimate
    call.attempts += 1
    now_ms = runtime.now_ms()
    call.accounts = scope.accounts(now_ms)
    if not call.accounts:
        _granted(call, estimate.units_max)
        return None
    if runtime.outbox.full:
        msg = (
            f"{len(runtime.outbox)} settlements wait for {runtime.store.url}; no new call until it takes them"
        )
        raise StoreUnavailable(msg)
    if call.key is None:
        call.hold_id = new_id(now_ms)
    else:
        call.hold_id = id_from_key(f"{call.attempts}:{call.key}")
    if not estimate.units_max and not scope.acts and patience is None:
        return Reserve(call.hold_id, call.accounts, estimate.amounts, runtime.lease_ms, call.on_lost)
    lease_ms = runtime.lease_ms
    if scope.takes_slot:
        lease_ms, call.sent_s = runtime.heartbeat.lease_ms, awake_s()
    amounts = {**estimate.amounts, **scope.extra}
    if not estimate.units_max and patience is None:
        return Reserve(call.hold_id, call.accounts, amounts, lease_ms, call.on_lost)
    return Reserve(
        call.hold_id,
        call.accounts,
        {**dict.fromkeys(estimate.step, 0), **amounts},
        lease_ms,
        call.on_lost,
        estimate.step,
        estimate.units_min,
        estimate.units_max,
        patience.ticket if patience is not None else "",
        patience.asks(call.accounts) if patience is not None else 0,
    )


def opened(call: Call, reply: Reply) -> Reserve | None:
    """Take the store's answer: None when the hold stands, else the command to try next.

    Where policies act, a limit that stands in the way is left in `refused`: something may be done about it.

    Raises:
        BudgetExceeded: a limit stands in the way.
        HoldMismatch: the idempotency key was used for another call.
    """
    outcome = reply.outcome
    if outcome is _GRANTED:
        scope = call.scope
        if reply.units or scope.tallies:
            _granted(call, reply.units)
        if scope.takes_slot:
            call.lease = call.runtime.heartbeat.add(call.hold_id, call.sent_s, strict=not scope.fail_open)
        if reply.balances:
            scope.seen(call.accounts, reply)
            call.below = "unknown"
        elif scope.watch is not None and scope.watch is not call.below:
            scope.watch.below(call.taken)
        return None
    if outcome is Outcome.WRONG_WINDOW and call.attempts < _WINDOW_ATTEMPTS:
        call.runtime.learn_time(reply.now_ms)
        return opening(call)
    if outcome is Outcome.CANCELLED and call.key is not None and call.attempts < _KEY_ATTEMPTS:
        return opening(call)  # an earlier call with this key was not billed: this one stands for itself
    if outcome is Outcome.DENIED:
        error = refusal(call, reply)
        if not call.scope.acts and call.on_denied is None:
            raise error
        call.refused = error
        return None
    raise contradicts(call.described, reply)


def refusal(call: Call, reply: Reply) -> BudgetExceeded:
    """What a `DENIED` reply says, as the exception to raise."""
    call.scope.seen(call.accounts, reply)
    return exceeded(f"{call.kind} {call.name}", call.accounts, reply)


def unreserved(call: Call) -> bool:
    """The store does not answer: give back what it may have held, and say whether the call goes on without.

    It does where all budgets over the scope say `on_outage: open`.
    """
    runtime = call.runtime
    if call.hold_id:
        runtime.outbox.put(releasing(call))
    if not call.scope.fail_open or runtime.outbox.full:
        return False
    log.warning(
        "%s does not answer; %s %s runs unreserved (on_outage: open)", runtime.store.url, call.kind, call.name
    )
    _granted(call, call.estimate.units_max)
    return True


def _granted(call: Call, units: int) -> None:
    call.units = units
    if units:
        step = call.estimate.step
        amounts = call.estimate.amounts
        call.amounts = {m: amounts.get(m, 0) + units * step.get(m, 0) for m in {**amounts, **step}}
    if call.scope.tallies:
        call.tallied = True
        for tally in call.scope.tallies:
            tally.hold(call.amounts.get("cost", 0))


def abandon(call: Call) -> None:
    """The reserve was interrupted before its answer came: whatever became of it, it shall hold nothing."""
    if call.closed:
        return
    unopened(call, None)
    if call.hold_id:
        call.closed = True
        call.runtime.outbox.put(taking_back(call))


def came_too_late(call: Call) -> bool:
    """Give the hold back if the slot in it may be another's by now: this process has slept since it asked."""
    if call.lease is None or not call.lease.lost:
        return False
    call.runtime.outbox.put(taking_back(call))
    return True


def taking_back(call: Call) -> Release:
    """The command that gives the hold back, as if it had never been asked for."""
    call.keep_up_no_more()
    if call.tallied:
        call.tallied = False
        for tally in call.scope.tallies:
            tally.settle(call.amounts.get("cost", 0), 0)
    return releasing(call)
