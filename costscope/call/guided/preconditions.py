"""What can refuse a call, or hold it up, before anything is asked to be held for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.call.guided.pacing import brake, keep_pace
from costscope.enforcement.clocks import check_clocks
from costscope.run.orders import halt_by_marks, seen_now

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.control.effects import Effects
    from costscope.scope.watch import Watch
    from costscope.stores.steps import Steps

__all__ = ["may_go_on"]


def may_go_on(call: Call) -> Steps[None]:
    """Let the call go on, now or when its turn has come.

    Raises:
        CallDenied: it does.
    """
    scope = call.scope
    run = scope.run
    if run is not None:
        run.check()
        if run.clock_ms is not None or scope.clocked:
            call.late = yield from check_clocks(scope)
    elif scope.clocked:
        call.late = yield from check_clocks(scope)
    watch = scope.watching()
    if watch is not None:
        yield from _marks_let_go_on(call, watch)
    if run is not None and run.effects.brake is not None and not call.paced:
        yield from brake(call, run.effects.brake)
        call.paced = True
        run.check()


def _marks_let_go_on(call: Call, watch: Watch) -> Steps[None]:
    """What thresholds that are passed do to a call before anything is asked to be held.

    Raises:
        CallDenied: they refuse it.
    """
    run = call.scope.run
    effects: Effects = watch.effects()
    if (effects.halt_run is not None and run is not None) or (effects.throttled and not call.paced):
        # What this process has seen may be long past: somebody may have given back what was held.
        effects = yield from seen_now(call.scope, watch)
    yield from halt_by_marks(call.scope, effects)
    if effects.throttled and not call.paced:
        yield from keep_pace(call, watch, effects.throttled)
        call.paced = True
        if run is not None:
            run.check()
