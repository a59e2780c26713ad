"""What a decision says about the budgets over a run: what is left, and what to be warned of. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costscope.guard.decisions import DecisionWarning
from costscope.ledger import MAX_AMOUNT
from costscope.money import format_amount
from costscope.policy.about import about_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from costscope.call.call import Call
    from costscope.policy.coverage import Watched
    from costscope.scope.scope import Scope
    from costscope.scope.watch import Watch

__all__ = ["changes", "left", "warnings"]


def left(scope: Scope) -> dict[str, Any]:
    """The fields `remaining` and `utilisation` of a decision, as last seen."""
    remaining: dict[str, int] = {}
    fullest: float | None = None
    for account, balance in zip(*scope.readings(), strict=True):
        shown = about_of(account.about).limits
        for at, (meter, limit) in enumerate(account.limits):
            if meter not in shown:  # orders to stop
                continue
            used = balance[2 * at] + balance[2 * at + 1] if balance else 0
            # A budget that lets calls through has no limit in the ledger: nothing is refused where nothing is left.
            if limit < MAX_AMOUNT:
                free = limit - used if used < limit else 0
                if free < remaining.get(meter, MAX_AMOUNT):
                    remaining[meter] = free
            if meter == "cost":
                part = used / shown[meter] if shown[meter] else 1.0
                fullest = part if fullest is None or part > fullest else fullest
    return {"remaining": remaining, "utilisation": fullest}


def warnings(scope: Scope) -> tuple[DecisionWarning, ...]:
    """Every mark over the scope that is passed, as last seen."""
    watch = scope.watch
    return () if watch is None else tuple(_passed(watch, watched) for watched in watch.passed())


def changes(call: Call, asked: str, own_cap: int | None, cap: int | None) -> tuple[DecisionWarning, ...]:
    """In which way a call is to be made otherwise than asked."""
    return tuple(_changed(call, asked, own_cap, cap))


def _changed(call: Call, asked: str, own_cap: int | None, cap: int | None) -> Iterator[DecisionWarning]:
    routing = call.routing
    if call.name != asked:
        reason = routing.reason if routing is not None else ""
        yield DecisionWarning(kind="downgraded", message=f"{call.name} instead of {asked}: {reason}")
    if own_cap is not None and cap is not None and cap < own_cap:
        yield DecisionWarning(
            kind="capped",
            message=f"at most {cap} output tokens, not {own_cap} as asked",
            meter="output_tokens",
        )


def _passed(watch: Watch, watched: Watched) -> DecisionWarning:
    mark, budget = watched.mark, watched.budget
    used, what = sum(watch.used(watched)), f"of {format_amount(mark.meter, mark.limit)}"
    so_far = f"{format_amount(mark.meter, used)} {what} are spent or held"
    if mark.threshold is not None:
        actions = ", ".join(action.do for action in mark.threshold.actions)
        message = f"budget {budget.id} has passed {mark.threshold.at:g} % ({actions}): {so_far}"
        if mark.threshold.message:
            message += f"; {mark.threshold.message}"
        return DecisionWarning(
            kind="threshold",
            message=message,
            budget=budget.id,
            meter=mark.meter,
            threshold=mark.threshold.at,
        )
    shadow = budget.enforcement == "shadow"
    says = "would refuse" if shadow else "is above its limit and lets through"
    return DecisionWarning(
        kind="shadow" if shadow else "degraded",
        message=f"budget {budget.id} {says}: {so_far}",
        budget=budget.id,
        meter=mark.meter,
    )
