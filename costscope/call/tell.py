"""The records of single calls: sent elsewhere, settled."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from costscope.events.records import CallSettled, Downgraded
from costscope.scope.history import Past

if TYPE_CHECKING:
    from costscope.call.call import Call

__all__ = ["tell_downgraded", "tell_settled"]


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
