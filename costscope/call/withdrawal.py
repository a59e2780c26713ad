"""Calls that will not be made: what they hold, or may hold, is given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.call.settlement import releasing
from costscope.call.span import unopened

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.ledger import Release

__all__ = ["abandon", "came_too_late", "taking_back"]


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
    if call.beat is None or not call.beat.lost:
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
