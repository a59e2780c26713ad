"""Telling of a threshold that was crossed: once per account and window, over all processes."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from costscope.engine.enforcement.refusal_events import emit_above
from costscope.errors import StoreUnavailable
from costscope.ledger.times import ONCE_KEEP_MS
from costscope.observe.events.records import ENCODER, ThresholdCrossed
from costscope.policy.resolve.accounts import account_info_of
from costscope.stores.coordination.operations import Publish
from costscope.stores.effects import Ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from costscope.engine.enforcement.refusal_events import What
    from costscope.engine.state.level_watch import Watch
    from costscope.engine.state.scope_state import ScopeState
    from costscope.policy.model.actions import Action
    from costscope.policy.resolve.resolved import Watched
    from costscope.stores.effects import Steps

log = logging.getLogger("costscope")


def announce_changes(
    scope: ScopeState, watch: Watch, what: What, name: str, taken: Mapping[str, int]
) -> Steps[None]:
    """Tell what a run or an iteration that holds `taken` has brought about: thresholds crossed, limits passed.

    The balances after it are in `watch`.
    """
    crossed = watch.take_crossed()
    if crossed:
        yield from announce(scope, watch, crossed)
    for watched in watch.passed_limits():
        if watched.level.meter in taken:
            emit_above(scope, what, name, watch, watched, taken[watched.level.meter])


def announce(scope: ScopeState, watch: Watch, crossed: list[Watched]) -> Steps[None]:
    """Claim each of these crossings; the process that gets it emits the event."""
    events, ops = zip(*[_announcement(scope, watch, watched) for watched in crossed], strict=True)
    try:
        firsts = yield Ask(ops)
    except StoreUnavailable:
        log.warning("a threshold of %s could not be claimed; the next call tries again", crossed[0].budget.id)
        for watched in crossed:
            watch.again(watched)
        return
    if any(first and op.deliver for op, first in zip(ops, firsts, strict=True)):
        scope.services.deliver()
    for event, first in zip(events, firsts, strict=True):
        if first:
            scope.services.events.emit(event, scope.callbacks, published=True)


def webhooks_of(actions: Iterable[Action], known: Iterable[str]) -> tuple[str, ...]:
    """Return the webhooks that these actions name; without a name the only one there is."""
    names = tuple(known)
    return tuple(
        action.to or names[0] for action in actions if action.do == "webhook" and (action.to or names)
    )


def _announcement(scope: ScopeState, watch: Watch, watched: Watched) -> tuple[ThresholdCrossed, Publish]:
    """Make the record of a crossing, and what publishes it unless another process has."""
    account, level, services = watch.accounts[watched.place], watched.level, scope.services
    threshold = level.threshold
    assert threshold is not None, "only thresholds are crossed"
    actions = tuple([action.do for action in threshold.actions])
    deliver = webhooks_of(threshold.actions, services.policy.webhooks)
    labels = account_info_of(account.about).present or scope.labels
    spent, held = watch.balance_of(watched)
    now_ms = services.now_ms()
    event = ThresholdCrossed(
        **services.stamp(labels),
        budget=watched.budget.id,
        meter=level.meter,
        threshold=threshold.at,
        spent=spent,
        held=held,
        remaining=level.limit - spent - held,
        limit=level.limit,
        window_start=_moment(account.start_ms) if account.end_ms else None,
        window_end=_moment(account.end_ms) if account.end_ms else None,
        actions=actions,
        message=threshold.message,
    )
    return event, Publish(
        event.id,
        ENCODER.encode(event).decode(),
        once=f"{account.key}#threshold:{event.meter}:{event.threshold!r}",
        once_ms=max(account.end_ms - now_ms, 0) + account.keep_ms if account.end_ms else ONCE_KEEP_MS,
        deliver=deliver,
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
