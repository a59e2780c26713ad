"""Where a call waits for its store. Sync and async differ in the awaits and in nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.engine.call.after_settle import after_settle, end_of_call
from costscope.engine.call.policies import follow_reserve, needs_followup, needs_preflight, reserve_enforced
from costscope.engine.enforcement.refusal_events import emit_call_refused
from costscope.engine.state.hold import OVER
from costscope.errors import CallDenied, StoreUnavailable
from costscope.ledger import Extend, Outcome
from costscope.stores.effects import Execute, run_async, run_sync

if TYPE_CHECKING:
    from costscope.engine.call.after_settle import FollowUp
    from costscope.engine.state.call import Call
    from costscope.ledger import Commit, Release
    from costscope.stores.effects import Steps


def reserve(call: Call) -> None:
    """Hold the call's estimate.

    Raises:
        CallDenied: refused; nothing is held.
    """
    store, enforced = call.services.store, call.scope.acts or call.on_denied is not None
    try:
        if enforced and needs_preflight(call):
            run_sync(reserve_enforced(call), store)
            return
        command = call.reserve_command()
        while command is not None:
            command = call.on_reserve_reply(store.execute((command,))[0])
        if enforced and needs_followup(call):
            run_sync(follow_reserve(call), store)
    except BaseException as error:
        if not _goes_on_without_hold(call, error):
            raise


async def areserve(call: Call) -> None:
    """Hold the call's estimate, in an event loop."""
    store, enforced = call.services.store, call.scope.acts or call.on_denied is not None
    try:
        if enforced and needs_preflight(call):
            await run_async(reserve_enforced(call), store)
            return
        command = call.reserve_command()
        while command is not None:
            command = call.on_reserve_reply((await store.aexecute((command,)))[0])
        if enforced and needs_followup(call):
            await run_async(follow_reserve(call), store)
    except BaseException as error:
        if not _goes_on_without_hold(call, error):
            raise


def reserve_steps(call: Call) -> Steps[None]:
    """Hold the call's estimate, as a part of a longer procedure; for calls in runs.

    Raises:
        CallDenied: refused; nothing is held.
    """
    try:
        yield from reserve_enforced(call)
    except BaseException as error:
        if not _goes_on_without_hold(call, error):
            raise


def settle(call: Call, command: Commit | Release | None) -> None:
    """Send a settlement, once. It is never lost: what cannot be sent now waits in the outbox.

    Without a command nothing covers the call.

    Raises:
        AmountOverflow, HoldMismatch: the books cannot take it.
        OutboxFull: the store is away, and too much waits for it already.
    """
    if call.phase == OVER:
        return
    try:
        try:
            reply = None if command is None else call.services.store.execute((command,))[0]
        except StoreUnavailable:
            reply = None
        if command is None or reply is None:
            followup = defer(call, command)
        else:
            followup = end_of_call(call, command) if call.on_settle_reply(reply, command) else None
        if followup is not None:
            run_sync(after_settle(call, followup), call.services.store)
        call.finish()
    except BaseException as broken:
        _on_broken_settlement(call, command, broken)
        raise


async def asettle(call: Call, command: Commit | Release | None, error: BaseException | None = None) -> None:
    """Send a settlement, in an event loop; a task cancelled here still gets it sent. `error` has ended the call."""
    if call.phase == OVER:
        return
    try:
        if isinstance(error, GeneratorExit) and command is not None:
            settle_interrupted(call, command)  # the coroutine is being closed: it must not wait any more
            return
        try:
            reply = None if command is None else (await call.services.store.aexecute((command,)))[0]
        except StoreUnavailable:
            reply = None
        if command is None or reply is None:
            followup = defer(call, command)
        else:
            followup = end_of_call(call, command) if call.on_settle_reply(reply, command) else None
        if followup is not None:
            await run_async(after_settle(call, followup), call.services.store)
        call.finish()
    except BaseException as broken:
        _on_broken_settlement(call, command, broken)
        raise


def settle_steps(call: Call, command: Commit | Release | None) -> Steps[None]:
    """Send a settlement, as a part of a longer procedure; for calls in runs."""
    if call.phase == OVER:
        return
    try:
        try:
            reply = None if command is None else (yield Execute((command,)))[0]
        except StoreUnavailable:
            reply = None
        if command is None or reply is None:
            followup = defer(call, command)
        else:
            followup = end_of_call(call, command) if call.on_settle_reply(reply, command) else None
        if followup is not None:
            yield from after_settle(call, followup)
        call.finish()
    except BaseException as broken:
        _on_broken_settlement(call, command, broken)
        raise


def defer(call: Call, command: Commit | Release | None) -> FollowUp | None:
    """Leave a settlement to the outbox: the store is away. None needs no sending.

    Returns:
        What the end of the call has brought about, if anything.
    """
    followup = None
    try:
        if call.on_deferred(command):
            followup = end_of_call(call, command)
    finally:  # a callback may have been interrupted
        if command is not None:
            call.services.outbox.put(command)
    return followup


def enqueue_settlement(call: Call, command: Commit | Release | None) -> None:
    """Settle in the background, once: from a finalizer, which must not wait."""
    if call.phase != OVER:
        defer(call, command)
        call.finish()


def rescue(call: Call) -> None:
    """Charge the hold unless it is settled: Ctrl-C came between the function and its settlement."""
    if call.span is not None:
        call.span.leave()
    if call.phase == OVER:
        return
    command = call.charge_command()
    if command is not None:
        settle_interrupted(call, command)
    else:
        defer(call, None)
        call.finish()


def settle_interrupted(call: Call, command: Commit | Release) -> None:
    """Leave a settlement to the outbox that Ctrl-C or a cancellation hit; whether the store has it is unknown.

    A store that waits remembers settled ids, so sending twice is safe. A store that does not wait forgets them,
    but answers at once whether the hold is still live.
    """
    uncounted = call.take_over()
    store = call.services.store
    extend = Extend(call.hold_id, call.services.lease_ms)
    if not store.waits and store.execute((extend,))[0].outcome is not Outcome.EXTENDED:
        return
    try:
        if uncounted:
            call.count_deferred(command)
            if call.is_watched:
                end_of_call(call, command)
    finally:
        call.services.outbox.put(command)


def _goes_on_without_hold(call: Call, error: BaseException) -> bool:
    """Act on what came in the way of a reserve; return True if the call is made all the same, with nothing held."""
    if isinstance(error, StoreUnavailable) and call.on_store_away():
        return True
    if isinstance(error, CallDenied):
        emit_call_refused(call.scope, call.kind, call.name, error, call.span)
        return False
    if not isinstance(error, Exception):
        call.abandon()
    call.end_span(0, "error", error)
    return False


def _on_broken_settlement(call: Call, command: Commit | Release | None, error: BaseException) -> None:
    """Act on what came in the way of a settlement, and is raised."""
    if isinstance(error, Exception) or command is None:
        call.finish()
    elif call.phase != OVER:
        settle_interrupted(call, command)
