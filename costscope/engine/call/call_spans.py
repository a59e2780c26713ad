"""The span of a call, where the runtime traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.observe.telemetry import CallOutcome

__all__ = ["begin_span", "end_span", "enter_span", "leave_span", "unopened"]


def begin_span(call: Call) -> None:
    """Where the runtime traces: from here to the settlement."""
    spans = call.runtime.spans
    if spans is None:
        return
    price = call.price
    call.span = spans.start(
        call.kind,
        call.name,
        call.scope.labels,
        provider=price.provider if price is not None else None,
        has_output=price is None or price.has_output,
    )


def enter_span(call: Call) -> None:
    """Where the runtime traces: what runs now is a part of the call's span."""
    if call.span is not None:
        call.span.enter()


def leave_span(call: Call) -> None:
    """What runs now is not; does nothing the second time."""
    if call.span is not None:
        call.span.leave()


def end_span(call: Call, cost: int, outcome: CallOutcome) -> None:
    """The call has come to its end, at this cost in nano-units."""
    spans, handle = call.runtime.spans, call.span
    if spans is None or handle is None:
        return
    spans.end(
        handle,
        outcome=outcome,
        cost_nano=cost,
        held_nano=call.amounts.get("cost", 0),
        budgets=len(call.accounts),
        hold_id=call.hold_id,
        usage=call.usage,
        max_tokens=call.estimate.cap_for(call.units),
        asked=call.asked or None,
        degraded=bool(call.degraded),
        name=call.name,
        error=call.error,
    )


def unopened(call: Call, error: BaseException | None) -> None:
    """It will not be made, though nothing has refused it."""
    if call.span is not None:
        call.error = error
        end_span(call, 0, "error")
