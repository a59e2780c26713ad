"""The drivers: where a call waits for its store. Sync and async differ in the awaits and in nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.call.call_spans import leave_span, unopened
from costscope.engine.call.policies import aftermath, behind, controlled, eventful, remarkable
from costscope.engine.call.refused import refused
from costscope.engine.call.reserve import abandon, opened, opening, unreserved
from costscope.engine.call.settle import charging, committing, settled, unsent
from costscope.errors import CallDenied, StoreUnavailable
from costscope.ledger import Commit, Extend, Outcome
from costscope.stores.effects import Execute, arun, run

if TYPE_CHECKING:
    from costscope.engine.state.call import Call
    from costscope.ledger import Release
    from costscope.stores.effects import Steps

__all__ = ["areserve", "asettle", "holding", "post", "rescue", "reserve", "settle", "settling"]


def reserve(call: Call) -> None:
    """Hold the call's estimate.

    Raises:
        CallDenied: refused; nothing is held.
    """
    store, acts = call.runtime.store, call.scope.acts or call.on_denied is not None
    try:
        if acts and eventful(call):
            run(controlled(call), store)
            return
        command = opening(call)
        while command is not None:
            command = opened(call, store.execute((command,))[0])
        if acts and remarkable(call):
            run(behind(call), store)
    except BaseException as error:
        if not _goes_on(call, error):
            raise


async def areserve(call: Call) -> None:
    """`reserve` for an event loop."""
    store, acts = call.runtime.store, call.scope.acts or call.on_denied is not None
    try:
        if acts and eventful(call):
            await arun(controlled(call), store)
            return
        command = opening(call)
        while command is not None:
            command = opened(call, (await store.aexecute((command,)))[0])
        if acts and remarkable(call):
            await arun(behind(call), store)
    except BaseException as error:
        if not _goes_on(call, error):
            raise


def settle(call: Call, command: Commit | Release | None) -> None:
    """Send a settlement. It is never lost: what cannot be sent now waits in the outbox.

    Raises:
        AmountOverflow, HoldMismatch: the books cannot take it.
        OutboxFull: the store is away, and too much waits for it already.
    """
    if command is None:
        return
    try:
        try:
            reply = call.runtime.store.execute((command,))[0]
        except StoreUnavailable:
            post(call, command)
        else:
            settled(call, reply, command)
        if call.suspicion is not None or call.moved:
            run(aftermath(call), call.runtime.store)
    except BaseException as broken:
        _broken_off(call, command, broken)
        raise


async def asettle(call: Call, command: Commit | Release | None, error: BaseException | None = None) -> None:
    """`settle` for an event loop; a task cancelled here still gets its settlement sent.

    Args:
        call: the call that has ended.
        command: what settles it.
        error: what ended it, if that was an exception.
    """
    if command is None:
        return
    try:
        if isinstance(error, GeneratorExit):  # the coroutine is being closed: it must not wait any more
            _interrupted(call, command)
            return
        try:
            reply = (await call.runtime.store.aexecute((command,)))[0]
        except StoreUnavailable:
            post(call, command)
        else:
            settled(call, reply, command)
        if call.suspicion is not None or call.moved:
            await arun(aftermath(call), call.runtime.store)
    except BaseException as broken:
        _broken_off(call, command, broken)
        raise


def holding(call: Call) -> Steps[None]:
    """`reserve` as a part of a longer procedure; for calls in runs.

    Raises:
        CallDenied: refused; nothing is held.
    """
    try:
        yield from controlled(call)
    except BaseException as error:
        if not _goes_on(call, error):
            raise


def settling(call: Call, command: Commit | Release | None) -> Steps[None]:
    """`settle` as a part of a longer procedure; for calls in runs."""
    if command is None:
        return
    try:
        try:
            reply = (yield Execute((command,)))[0]
        except StoreUnavailable:
            post(call, command)
        else:
            settled(call, reply, command)
        yield from aftermath(call)
    except BaseException as broken:
        _broken_off(call, command, broken)
        raise


def _goes_on(call: Call, error: BaseException) -> bool:
    """What came in the way of a reserve; True if the call is made all the same, with nothing held."""
    if isinstance(error, StoreUnavailable) and unreserved(call):
        return True
    if isinstance(error, CallDenied):
        refused(call, error)
        return False
    if not isinstance(error, Exception):
        abandon(call)
    unopened(call, error)
    return False


def _broken_off(call: Call, command: Commit | Release, error: BaseException) -> None:
    """What came in the way of a settlement, and is raised."""
    if isinstance(error, Exception):
        call.over = True
    else:
        _interrupted(call, command)


def rescue(call: Call) -> None:
    """Ctrl-C came between the function and its settlement: charge the hold, unless it is settled."""
    leave_span(call)
    if call.over:
        return
    command = charging(call) if call.closed else committing(call, None)
    if command is not None:
        _interrupted(call, command)


def post(call: Call, command: Commit | Release | None) -> None:
    """Send a settlement in the background: from a finalizer, or when the store is away."""
    if command is None:
        return
    try:
        unsent(call, command)
    finally:  # a callback may have been interrupted
        call.runtime.outbox.put(command)


def _interrupted(call: Call, command: Commit | Release) -> None:
    """Ctrl-C or a cancellation hit the settlement; whether the store has it is unknown.

    A store that waits remembers settled ids, so sending twice is safe. A store that does not wait forgets them,
    but answers at once whether the hold is still live.
    """
    call.over = True
    store = call.runtime.store
    if (
        store.waits
        or store.execute((Extend(call.hold_id, call.runtime.lease_ms),))[0].outcome is Outcome.EXTENDED
    ):
        post(call, command)
