"""What the end of a call brings about: waiters woken, thresholds crossed, a run that seems out of control, events."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from costscope.engine.enforcement.thresholds import announce
from costscope.engine.run.runaway_actions import act_on, report_call
from costscope.ledger import Commit, Read
from costscope.observe.events.records import CallSettled
from costscope.stores.effects import Execute, Pause, Wake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costscope.engine.control.runaway import Suspicion
    from costscope.engine.state.call import Call
    from costscope.engine.state.level_watch import Watch
    from costscope.ledger import Release
    from costscope.stores.effects import Steps

_ANSWER_S: Final = 1.0
"""How long a call that makes its run suspect waits for the counts of all its processes."""


class FollowUp(NamedTuple):
    """What is left to be done once the settlement of a call has been answered."""

    levels: bool = False
    """It may have taken an account across a level."""
    suspicion: Suspicion | None = None
    """What the run's detector says about it."""
    reported: Wake | None = None
    """Called when the board has been told of that call, where it is waited for."""


def end_of_call(call: Call, command: Commit | Release | None) -> FollowUp | None:
    """Tell of a call that is settled and counted: who waits for what it gave back, detector, averages, listeners.

    Returns:
        What is left to be done, if anything.
    """
    services, scope, run = call.services, call.scope, call.scope.run
    settled = call.settled if command is None else command.amounts if type(command) is Commit else None
    actual = {} if settled is None else settled
    cost = actual.get("cost", 0)
    if services.wait_list:
        services.wait_list.wake(call.accounts)
    if call.kind == "model" and call.failed is not None and services.router.watches:
        now_s = perf_counter()
        services.health.record_call(call.name, now_s, now_s - call.began_s, failed=call.failed)
    levels, suspicion, reported = False, None, None
    if run is not None:
        run.cost += cost
        detector = run.detector
        if detector is not None:
            suspicion = detector.on_settled(call.digest, cost, int(perf_counter() * 1000), failed=call.failed)
            if detector.shared:
                reported = Wake() if suspicion is not None else None
                report_call(run, scope, call.digest, cost, failed=call.failed, wake=reported)
            if detector.brakes:
                services.averages.record_call(call.name, cost, call.usage)
    watch = scope.watch
    if watch is not None:
        if watch.throttles:
            services.averages.record_call(call.name, cost, call.usage)
        levels = _may_have_crossed(call, watch, actual)
    if services.settled_listeners or scope.callbacks is not None:
        _emit_settled(call, cost)
    return FollowUp(levels, suspicion, reported) if levels or suspicion is not None else None


def after_settle(call: Call, followup: FollowUp) -> Steps[None]:
    """See to what the settlement has brought about: thresholds that it crossed, a run that is suspect."""
    if followup.levels:
        yield from _announce_crossed(call)
    suspicion, run = followup.suspicion, call.scope.run
    if suspicion is None or run is None:
        return
    if followup.reported is not None:
        # Several processes may work in the run: the board, once told of this call, knows better, and its answer is
        # acted on in the background. If it does not answer, this process decides by what it knows.
        yield Pause(_ANSWER_S, followup.reported)
        if followup.reported.called:
            return
    yield from act_on(run, call.scope, suspicion)


def _may_have_crossed(call: Call, watch: Watch, actual: Mapping[str, int]) -> bool:
    above = watch is not call.below and watch.above()
    if call.services.store.waits:  # which tells the balances with every reply
        return above and watch.has_crossed()
    # The memory store tells of a reserve that comes to a level, and not of a commit that takes more.
    return above or (actual is not call.amounts and watch.over(actual, call.amounts))


def _announce_crossed(call: Call) -> Steps[None]:
    """Announce what a commit has taken above a threshold, or left above one that is in force."""
    scope = call.scope
    watch = scope.watch
    if watch is None:
        return
    if not call.services.store.waits:
        (found,) = yield Execute((Read(call.accounts),))
        scope.record_balances(call.accounts, found)
    crossed = watch.take_crossed()
    if crossed:
        yield from announce(scope, watch, crossed)


def _emit_settled(call: Call, cost: int) -> None:
    scope, usage = call.scope, call.usage
    if not scope.services.events.has_listeners("settled", scope.callbacks):
        return
    scope.emit(
        CallSettled(
            **scope.services.stamp(scope.labels),
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
