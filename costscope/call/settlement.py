"""The second phase of a call: the command that settles its hold, and the answer to it. No I/O."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from costscope.call.ended import ended, is_watched
from costscope.call.span import end_span
from costscope.enforcement.refusals import contradicts
from costscope.errors import CallDenied, HoldClosed
from costscope.ledger import Commit, Outcome, Release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.call.call import Call
    from costscope.ledger import Reply
    from costscope.telemetry import Settlement

__all__ = ["charging", "committing", "giving_back", "raised", "releasing", "settled", "unsent"]

KEY_KEEP_MS: Final = 24 * 3_600_000
"""How long an idempotency key is remembered: a task queue redelivers within a day."""

_COMMITTED: Final = Outcome.COMMITTED  # looked at first: the hash of an enum's member is computed in Python
_SETTLED: Final[dict[Outcome, Settlement]] = {
    Outcome.COMMITTED: "committed",
    Outcome.LATE: "late",
    Outcome.ORPHAN: "orphan",
    Outcome.RELEASED: "released",
}


def committing(call: Call, actual: Mapping[str, int] | None) -> Commit | None:
    """The command that settles with what the call really took; None charges what was held."""
    amounts = call.amounts if actual is None else dict(actual)
    cost = amounts.get("cost", 0)
    _close(call, cost)
    if not call.accounts:
        seconds = perf_counter() - call.began_s
        call.scope.totals.call(call.kind, call.name, call.outcome, cost, call.usage, seconds)
        if is_watched(call):
            ended(call, cost, amounts)
        return None
    keep_ms = call.runtime.store.keep_ms if call.key is None else KEY_KEEP_MS
    return Commit(call.hold_id, call.accounts, amounts, keep_ms)


def charging(call: Call) -> Commit | None:
    """The command that charges what was held, for a call whose own settlement was interrupted."""
    keep_ms = call.runtime.store.keep_ms if call.key is None else KEY_KEEP_MS
    return Commit(call.hold_id, call.accounts, call.amounts, keep_ms) if call.accounts else None


def releasing(call: Call) -> Release:
    """The command that gives the hold back."""
    keep_ms = call.runtime.store.keep_ms if call.key is None else KEY_KEEP_MS
    return Release(call.hold_id, call.accounts, keep_ms)


def giving_back(call: Call) -> Release | None:
    """`releasing`, as the end of the call: nothing was billed."""
    _close(call, 0)
    if call.accounts:
        return releasing(call)
    if is_watched(call):
        ended(call, 0, {})
    return None


def raised(call: Call, error: BaseException) -> None:
    """The function has raised."""
    call.outcome = "error"
    call.failed = True if isinstance(error, Exception) and not isinstance(error, CallDenied) else None
    if call.span is not None:
        call.error = error


def settled(call: Call, reply: Reply, command: Commit | Release) -> None:
    """Take the store's answer to a settlement.

    Raises:
        AmountOverflow: the books cannot take a sum above 2^53-1.
        HoldMismatch: the hold was settled with something else.
    """
    outcome, scope = reply.outcome, call.scope
    if reply.balances:
        scope.seen(call.accounts, reply)
        call.below = "unknown"
    if outcome is _COMMITTED and not scope.closed:
        assert type(command) is Commit, "a release is never answered like this"
        _counted(call, command, "committed")
        return
    settlement = _SETTLED.get(outcome)
    if settlement is None:
        if outcome is Outcome.MISMATCH and call.key is not None:
            return  # a redelivered task: the first settlement of this key stands
        raise contradicts(call.described, reply)
    if type(command) is Commit:
        _counted(call, command, settlement)
    else:
        scope.totals.settlement(settlement)
        ended(call, 0, {})
    if scope.closed:  # a stream that outlived its scope
        scope.record_late()


def unsent(call: Call, command: Commit | Release) -> None:
    """The settlement waits to be sent: for everybody in this process the call is over."""
    if call.told:
        return  # whoever sent it was interrupted by what it was told
    if type(command) is Commit:
        _counted(call, command, None)
    else:
        ended(call, 0, {})


def _counted(call: Call, command: Commit, settlement: Settlement | None) -> None:
    """Tell the scope's totals of a commit; without a settlement it waits to be sent."""
    call.told = True
    totals, cost = call.scope.totals, command.amounts.get("cost", 0)
    overrun = 0 if command.amounts is call.amounts else cost - call.amounts.get("cost", 0)
    seconds = perf_counter() - call.began_s
    if settlement == "committed" and overrun <= 0:
        totals.committed(call.kind, call.name, call.outcome, cost, call.usage, seconds)
    else:
        totals.call(call.kind, call.name, call.outcome, cost, call.usage, seconds)
        if settlement is not None:
            totals.settlement(settlement, max(overrun, 0))
    runtime, scope = call.runtime, call.scope
    if (
        scope.acts or runtime.listens or runtime.waiting or scope.callbacks is not None
    ):  # as `is_watched` has it
        ended(call, cost, command.amounts)


def _close(call: Call, cost: int) -> None:
    if call.closed:
        msg = f"{call.kind} {call.name}: the hold is settled already"
        raise HoldClosed(msg)
    call.closed, call.cost = True, cost
    if call.beat is not None:
        call.keep_up_no_more()
    for tally in call.scope.tallies:
        tally.settle(call.amounts.get("cost", 0), cost)
    if call.span is not None:
        end_span(call, cost, call.outcome)
