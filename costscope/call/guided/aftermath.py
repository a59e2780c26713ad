"""What the settlement of a call has brought about: thresholds that it crossed, a run that is suspect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.enforcement.announce import announce
from costscope.ledger import Read
from costscope.run.runaway import act_on
from costscope.stores.steps import Execute, Pause

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.stores.steps import Steps

__all__ = ["aftermath"]

_ANSWER_S = 1.0
"""How long a call that makes its run suspect waits for the counts of all its processes."""


def aftermath(call: Call) -> Steps[None]:
    """See to what the settlement has brought about: thresholds that it crossed, a run that is suspect."""
    if call.moved:
        yield from _crossed(call)
    if call.suspicion is not None:
        yield from _suspected(call)


def _crossed(call: Call) -> Steps[None]:
    """A commit may take an account above a threshold, or back below one that is in force."""
    scope = call.scope
    watch = scope.watch
    call.moved = False
    if watch is None:
        return
    if not call.runtime.store.waits:  # which tells the balances with every reply
        (found,) = yield Execute((Read(call.accounts),))
        scope.seen(call.accounts, found)
    crossed = watch.crossed()
    if crossed:
        yield from announce(scope, watch, crossed)


def _suspected(call: Call) -> Steps[None]:
    """See to what the settlement has made this process suspect.

    Where several processes may work in the run, it waits until the board has been told of this call: it knows better,
    and whoever tells it acts on what it answers. If it does not answer, this process decides by what it knows.
    """
    suspicion, noted, call.suspicion, call.noted = call.suspicion, call.noted, None, None
    run = call.scope.run
    if suspicion is None or run is None:
        return
    if noted is not None:
        yield Pause(_ANSWER_S, noted)
        if noted.called:
            return
    yield from act_on(run, call.scope, suspicion)
