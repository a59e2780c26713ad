"""Pacing the calls of a throttled budget to what the rest of its window can carry."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import msgspec

from costscope.engine.enforcement.refusals import refusal
from costscope.engine.enforcement.wall_clocks import check_clocks
from costscope.engine.run.halting import halt_by_levels, read_effects
from costscope.engine.state.level_watch import Watch
from costscope.errors import DENIALS
from costscope.ledger import Read
from costscope.ledger.commands import Account
from costscope.policy.model.actions import any_paces
from costscope.policy.model.controls import Threshold
from costscope.policy.model.durations import to_ms
from costscope.policy.resolve.accounts import account_info_of
from costscope.policy.resolve.levels import Level
from costscope.policy.resolve.resolved import Watched, watched_in
from costscope.stores.coordination.operations import Pace
from costscope.stores.effects import Ask, Execute, Pause, Wake

if TYPE_CHECKING:
    from costscope.engine.control.effects import Effects
    from costscope.engine.state.call import Call
    from costscope.errors import BudgetExceeded
    from costscope.policy.model.actions import Action
    from costscope.stores.effects import Steps


def keep_pace(call: Call, watch: Watch, throttled: tuple[Watched, ...]) -> Steps[None]:
    """Wait for this call's turn in every throttled budget; the line is one for all processes.

    Raises:
        BudgetExceeded: the turn comes later than the policy lets a call wait (`throttled`).
    """
    turns = _turns(call, watch, throttled)
    if not turns:
        return
    ops = tuple(Pace(turn.account.key, turn.interval_ms, turn.patience_ms) for turn in turns)
    waits = yield Ask(ops)
    for turn, wait_ms in zip(turns, waits, strict=True):
        if wait_ms < 0:
            raise _too_late(turn.watched, watch, call, turn.interval_ms)
    # No call has to wait for a window that ends: the next one has its own pace.
    wait_ms = max(min(ms, turn.rest_ms) for turn, ms in zip(turns, waits, strict=True))
    if wait_ms > 0:
        yield Pause(wait_ms / 1000, Wake())


def brake(call: Call, action: Action) -> Steps[None]:
    """Pace a call of a run that is out of control: as if every budget over it had passed a threshold that throttles.

    Raises:
        BudgetExceeded: as `keep_pace`.
    """
    services = call.services
    resolved = call.scope.resolve_budgets(services.now_ms())
    accounts, budgets, threshold = resolved.accounts, resolved.budgets, Threshold(at=0, actions=(action,))
    levels = [
        tuple(Level(meter, 0, limit, threshold) for meter, limit in budget.ceilings) for budget in budgets
    ]
    watched = tuple(watched_in(accounts, levels, budgets))
    watch = Watch(accounts, budgets, watched, services.views.of(accounts))
    (found,) = yield Execute((Read(accounts),))
    call.scope.record_some_balances(accounts, found)
    yield from keep_pace(call, watch, watched)


class _Turn(msgspec.Struct, frozen=True):
    """A place in the line of one account."""

    watched: Watched
    account: Account
    interval_ms: int
    rest_ms: int
    patience_ms: int


def _turns(call: Call, watch: Watch, throttled: tuple[Watched, ...]) -> list[_Turn]:
    """Return one for each account: that of the meter and threshold which slows it down most."""
    slowest: dict[int, _Turn] = {}
    now_ms = call.services.now_ms()
    for watched in throttled:
        account = watch.accounts[watched.place]
        expected = call.usual_amount(watched.level.meter)
        rest_ms = account.end_ms - now_ms
        if not account.end_ms or not expected or rest_ms <= 0:
            continue  # nothing is said about a budget that never resets, or of what the call does not use
        spent, held = watch.balance_of(watched)
        interval = interval_ms(expected, max(watched.level.limit - spent - held, 0), rest_ms)
        patience_ms = to_ms(_action(watched).max_wait, what="max_wait")
        known = slowest.get(watched.place)
        if known is not None:
            patience_ms = min(patience_ms, known.patience_ms)
        if known is None or interval >= known.interval_ms:
            slowest[watched.place] = _Turn(watched, account, interval, rest_ms, patience_ms)
        else:
            slowest[watched.place] = msgspec.structs.replace(known, patience_ms=patience_ms)
    return list(slowest.values())


def interval_ms(expected: int, left: int, rest_ms: int) -> int:
    """Return the time from one call to the next at which calls of this size use up what is left just when the window ends.

    Args:
        expected: what a call uses.
        left: what the budget has left, in the same unit.
        rest_ms: until the window ends; also the answer where nothing is left.
    """
    return min(ceil(expected * rest_ms / left), rest_ms) if left else rest_ms


def _action(watched: Watched) -> Action:
    assert watched.level.threshold is not None, "only thresholds throttle"
    return next(action for action in watched.level.threshold.actions if any_paces((action,)))


def _too_late(watched: Watched, watch: Watch, call: Call, interval: int) -> BudgetExceeded:
    account, meter = watch.accounts[watched.place], watched.level.meter
    spent, held = watch.balance_of(watched)
    message = (
        f"{call.kind} {call.name}: budget {account_info_of(account.about).budget!r} is throttled: one call in "
        f"{interval / 1000:g} s lasts until its reset, and this one's turn comes later than max_wait. "
        f"{DENIALS['throttled'].remedy}"
    )
    return refusal(
        account,
        message,
        kind="throttled",
        meter=meter,
        limit=watched.level.limit,
        spent=spent,
        held=held,
        requested=call.amounts.get(meter, 0),
        retry_after=interval / 1000,
    )


def check_preconditions(call: Call) -> Steps[None]:
    """Let the call go on, now or when its turn has come.

    Raises:
        CallDenied: it does.
    """
    scope = call.scope
    run = scope.run
    if run is not None:
        run.check()
    if scope.clocked or (run is not None and run.clock_ms is not None):
        call.mark_late((yield from check_clocks(scope)))
    watch = scope.current_watch()
    if watch is not None:
        yield from _check_levels(call, watch)
    if run is not None and run.effects.brake is not None and not call.paced:
        yield from brake(call, run.effects.brake)
        call.mark_paced()
        run.check()


def _check_levels(call: Call, watch: Watch) -> Steps[None]:
    """Return what thresholds that are passed do to a call before anything is asked to be held.

    Raises:
        CallDenied: they refuse it.
    """
    run = call.scope.run
    effects: Effects = watch.effects()
    if effects.holds_up(in_run=run is not None, paced=call.paced):
        # What this process has seen may be long past: what was held may have been given back.
        effects = yield from read_effects(call.scope, watch)
    yield from halt_by_levels(call.scope, effects)
    if effects.throttled and not call.paced:
        yield from keep_pace(call, watch, effects.throttled)
        call.mark_paced()
        if run is not None:
            run.check()
