"""The second phase of a call: the command that settles its hold, and the answer to it. No I/O."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from costscope.engine.call.call_spans import end_span
from costscope.engine.enforcement.refusals import contradicts
from costscope.engine.state.activity import Past
from costscope.errors import CallDenied, HoldClosed
from costscope.ledger import Commit, Outcome, Release
from costscope.ledger.times import KEY_KEEP_MS
from costscope.observe.events.records import CallSettled, Downgraded
from costscope.stores.effects import Wake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.state.call import Call
    from costscope.ledger import Amounts, Reply
    from costscope.observe.telemetry import Settlement


def tell_downgraded(call: Call) -> None:
    """A call that goes to another model, or with a lower cap, than it asked for."""
    scope, routing = call.scope, call.routing
    assert routing is not None, "only routed calls are sent elsewhere"
    scope.history.add(Past(downgrades=1, saved_nano=max(call.saved or 0, 0)))
    scope.emit(
        Downgraded(
            **scope.stamp(),
            asked=call.asked,
            effective=call.name,
            reason=routing.reason if call.name != call.asked else routing.cap_reason,
            stage=call.stage,
            max_tokens=call.capped,
            saved=call.saved,
        )
    )


def tell_settled(call: Call, cost: int) -> None:
    """A call that has ended; only made when somebody listens."""
    scope, usage = call.scope, call.usage
    if not scope.runtime.events.wanted("settled", scope.callbacks):
        return
    scope.emit(
        CallSettled(
            **scope.stamp(),
            what=call.kind,
            name=call.name,
            outcome=call.outcome,
            cost=cost,
            held=call.amounts.get("cost", 0),
            input_tokens=usage.input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            cache_read_tokens=usage.cache_read_tokens if usage else 0,
            cache_write_tokens=usage.cache_write_tokens if usage else 0,
            reasoning_tokens=usage.reasoning_tokens if usage else 0,
            seconds=perf_counter() - call.began_s,
            degraded=bool(call.degraded),
        )
    )


def is_watched(call: Call) -> bool:
    """True if the end of the call is of interest to anybody."""
    scope, runtime = call.scope, call.runtime
    return bool(scope.acts or runtime.listens or runtime.waiting or scope.callbacks is not None)


def ended(call: Call, cost: int, actual: Amounts) -> None:
    """The hold is settled: for whoever waits for what it gave back, or watches what calls do."""
    call.told = True
    runtime, scope, run = call.runtime, call.scope, call.scope.run
    if runtime.waiting:
        runtime.waiting.nudge(call.accounts)
    if call.kind == "model" and call.failed is not None and runtime.router.watches:
        now_s = perf_counter()
        runtime.health.saw(call.name, now_s, now_s - call.began_s, failed=call.failed)
    if run is not None:
        run.cost += cost
        detector = run.detector
        if detector is not None:
            now_ms = int(perf_counter() * 1000)
            call.suspicion = detector.settled(call.digest, cost, now_ms, failed=call.failed)
            if detector.shared:
                call.noted = Wake() if call.suspicion is not None else None
                runtime.notes.put(run, scope, call.digest, cost, failed=call.failed, wake=call.noted)
            if detector.brakes:
                runtime.usual.saw(call.name, cost, call.usage)
    watch = scope.watch
    if watch is not None:
        if watch.throttles:
            runtime.usual.saw(call.name, cost, call.usage)
        # The memory store tells of a reserve that comes to a level, and not of a commit that takes more.
        overran = actual is not call.amounts and not runtime.store.waits and watch.over(actual, call.amounts)
        call.moved = overran or (watch is not call.below and watch.above())
    if runtime.listens or scope.callbacks is not None:
        tell_settled(call, cost)


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
