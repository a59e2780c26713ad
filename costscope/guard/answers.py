"""Making decisions: of what is allowed, of what was refused, and of how a run stands after a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from costscope.errors import RunHalted
from costscope.guard.decisions import Decision, DecisionWarning
from costscope.ledger import MAX_AMOUNT
from costscope.policy.resolve.accounts import account_info_of
from costscope.pricing.money import format_amount
from costscope.scope.balances import readings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.engine.state.call import Call
    from costscope.engine.state.level_watch import Watch
    from costscope.engine.state.scope_state import ScopeState
    from costscope.errors import CallDenied
    from costscope.guard.open_runs import OpenRun
    from costscope.policy.resolve.resolved import Watched


def left(scope: ScopeState) -> dict[str, Any]:
    """The fields `remaining` and `utilisation` of a decision, as last seen."""
    remaining: dict[str, int] = {}
    fullest: float | None = None
    for account, balance in zip(*readings(scope), strict=True):
        shown = account_info_of(account.about).limits
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


def warnings(scope: ScopeState) -> tuple[DecisionWarning, ...]:
    """Every level over the scope that is passed, as last seen."""
    watch = scope.watch
    if watch is None:
        return ()
    return tuple(_describe_level(watch, watched) for watched in watch.passed_levels())


def changes(call: Call, asked: str, own_cap: int | None, cap: int | None) -> Iterator[DecisionWarning]:
    """Yield in which way a call is to be made otherwise than asked."""
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


def _describe_level(watch: Watch, watched: Watched) -> DecisionWarning:
    level, budget = watched.level, watched.budget
    used, what = sum(watch.balance_of(watched)), f"of {format_amount(level.meter, level.limit)}"
    so_far = f"{format_amount(level.meter, used)} {what} are spent or held"
    if level.threshold is not None:
        actions = ", ".join(action.do for action in level.threshold.actions)
        message = f"budget {budget.id} has passed {level.threshold.at:g} % ({actions}): {so_far}"
        if level.threshold.message:
            message += f"; {level.threshold.message}"
        return DecisionWarning(
            kind="threshold",
            message=message,
            budget=budget.id,
            meter=level.meter,
            threshold=level.threshold.at,
        )
    shadow = budget.enforcement == "shadow"
    says = "would refuse" if shadow else "is above its limit and lets through"
    return DecisionWarning(
        kind="shadow" if shadow else "degraded",
        message=f"budget {budget.id} {says}: {so_far}",
        budget=budget.id,
        meter=level.meter,
    )


D = TypeVar("D", bound=Decision)


def allow(
    cls: type[D], opened: OpenRun, *, more_warnings: tuple[DecisionWarning, ...] = (), **fields: Any
) -> D:
    """The step may be taken."""
    return cls(allowed=True, **_balances_of(opened, more_warnings), **fields)


def refuse(cls: type[D], opened: OpenRun, error: CallDenied, **fields: Any) -> D:
    """It may not."""
    return cls(allowed=False, **why(error), **_balances_of(opened, ()), **fields)


def afterwards(
    cls: type[D], opened: OpenRun, *, more_warnings: tuple[DecisionWarning, ...] = (), **fields: Any
) -> D:
    """A step was taken: whether the run may go on."""
    try:
        opened.run.check()
    except RunHalted as error:
        return cls(allowed=False, **why(error), **_balances_of(opened, more_warnings), **fields)
    return allow(cls, opened, more_warnings=more_warnings, **fields)


def why(error: CallDenied) -> dict[str, Any]:
    """What a refusal says, as the fields of a decision."""
    return {
        "reason": str(error),
        "kind": error.kind,
        "budget": getattr(error, "budget", None),
        "meter": getattr(error, "meter", None),
        "retry_after": getattr(error, "retry_after", None),
        "resets_at": getattr(error, "resets_at", None),
        "error": error,
    }


def _balances_of(opened: OpenRun, more_warnings: tuple[DecisionWarning, ...]) -> dict[str, Any]:
    """What every decision says, as last seen; `left` looks, and so comes first."""
    figures = left(opened.scope)
    return {"run_id": opened.run_id, "warnings": (*more_warnings, *warnings(opened.scope)), **figures}
