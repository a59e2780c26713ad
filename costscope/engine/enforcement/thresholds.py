"""Telling of a threshold that was crossed: once per account and window, over all processes."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from costscope.engine.enforcement.refusal_events import tell_above
from costscope.errors import StoreUnavailable
from costscope.ledger.times import FIRST_KEEP_MS
from costscope.observe.events.records import ThresholdCrossed, encode_event
from costscope.policy.resolve.account_info import about_of
from costscope.stores.coordination import Publish
from costscope.stores.effects import Ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from costscope.engine.enforcement.refusal_events import What
    from costscope.engine.state.level_watch import Watch
    from costscope.policy.model.controls import Action
    from costscope.policy.resolve.resolved import Watched
    from costscope.scope.scope import Scope
    from costscope.stores.effects import Steps

__all__ = ["announce", "notice", "webhooks_of"]

log = logging.getLogger("costscope")


def notice(scope: Scope, watch: Watch, what: What, name: str, taken: Mapping[str, int]) -> Steps[None]:
    """What has come about by a run or an iteration: thresholds that are crossed, limits that are passed.

    Args:
        scope: where.
        watch: holds the balances after it.
        what: a run or an iteration.
        name: of it.
        taken: what it holds.
    """
    crossed = watch.crossed()
    if crossed:
        yield from announce(scope, watch, crossed)
    for watched in watch.effects().over:
        if watched.mark.meter in taken:
            tell_above(scope, what, name, watch, watched, taken[watched.mark.meter])


def announce(scope: Scope, watch: Watch, crossed: list[Watched]) -> Steps[None]:
    """Claim each of these crossings; the process that gets it tells everybody."""
    events = [_record(scope, watch, watched) for watched in crossed]
    ops = tuple(
        _publication(scope, watch, watched, event) for watched, event in zip(crossed, events, strict=True)
    )
    try:
        firsts = yield Ask(ops)
    except StoreUnavailable:
        log.warning("a threshold of %s could not be claimed; the next call tries again", crossed[0].budget.id)
        for watched in crossed:
            watch.again(watched)
        return
    if any(first and op.deliver for op, first in zip(ops, firsts, strict=True)):
        scope.runtime.deliver()
    for event, first in zip(events, firsts, strict=True):
        if first:
            scope.emit(event, published=True)


def webhooks_of(actions: Iterable[Action], known: Iterable[str]) -> tuple[str, ...]:
    """The webhooks that these actions name; without a name the only one there is."""
    names = tuple(known)
    return tuple(
        action.to or names[0] for action in actions if action.do == "webhook" and (action.to or names)
    )


def _record(scope: Scope, watch: Watch, watched: Watched) -> ThresholdCrossed:
    account, mark = watch.accounts[watched.place], watched.mark
    assert mark.threshold is not None, "only thresholds are crossed"
    spent, held = watch.used(watched)
    about = about_of(account.about)
    stamp = scope.stamp()
    stamp["labels"] = about.present or stamp["labels"]
    return ThresholdCrossed(
        **stamp,
        budget=watched.budget.id,
        meter=mark.meter,
        threshold=mark.threshold.at,
        spent=spent,
        held=held,
        remaining=mark.limit - spent - held,
        limit=mark.limit,
        window_start=_moment(account.start_ms) if account.end_ms else None,
        window_end=_moment(account.end_ms) if account.end_ms else None,
        actions=tuple(action.do for action in mark.threshold.actions),
        message=mark.threshold.message,
    )


def _publication(scope: Scope, watch: Watch, watched: Watched, event: ThresholdCrossed) -> Publish:
    account = watch.accounts[watched.place]
    assert watched.mark.threshold is not None, "only thresholds are crossed"
    now_ms = scope.runtime.now_ms()
    return Publish(
        event.id,
        encode_event(event),
        once=f"{account.key}#threshold:{event.meter}:{event.threshold!r}",
        once_ms=max(account.end_ms - now_ms, 0) + account.keep_ms if account.end_ms else FIRST_KEEP_MS,
        deliver=webhooks_of(watched.mark.threshold.actions, scope.runtime.policy.webhooks),
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
