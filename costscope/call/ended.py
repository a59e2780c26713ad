"""The end of a call, for whoever waits for what it gives back, or watches what calls do."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from costscope.call.tell import tell_settled
from costscope.stores.steps import Wake

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.ledger import Amounts

__all__ = ["ended", "is_watched"]


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
