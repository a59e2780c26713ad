"""Holds that show, by the balances that came with them, that their call should have been judged otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.call.withdrawal import taking_back
from costscope.ledger import Read
from costscope.stores.steps import Execute

if TYPE_CHECKING:
    from costscope.call.call import Call
    from costscope.stores.steps import Steps

__all__ = ["sent_back"]


def sent_back(call: Call) -> Steps[bool]:
    """Give the hold back if it has shown that the call is not what it should be, since others have passed a threshold.

    So a process that has not asked for a long time, or never, is subject to what is in force all the same. Once a call:
    whoever goes on while others come and go around a level has been right for a moment.
    """
    if not _misjudged(call):
        return False
    scope, release = call.scope, taking_back(call)
    call.hold_id, call.sent_again, call.attempts = "", True, 0
    try:
        _, found = yield Execute((release, Read(release.accounts)))
    except BaseException:
        call.runtime.outbox.put(release)
        raise
    scope.seen(release.accounts, found)
    if call.detour is not None:
        call.detour.again(call)
    return True


def _misjudged(call: Call) -> bool:
    watch, run = call.scope.watch, call.scope.run
    if watch is None or call.sent_again or not call.hold_id:
        return False
    now = watch.effects(call.taken)
    if (now.halt_run is not None and run is not None) or (now.throttled and not call.paced):
        return True
    return call.detour is not None and call.detour.is_left(call)
