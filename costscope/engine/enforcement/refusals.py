"""The errors of a refused call: each says the limit, the numbers and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from costscope.errors import (
    DENIALS,
    AmountOverflow,
    BudgetExceeded,
    CallUnscoped,
    HoldMismatch,
    RunHalted,
    StoreUnavailable,
)
from costscope.ledger import HALTS, Outcome
from costscope.policy import INLINE_BUDGET, RUN_BUDGET
from costscope.policy.resolve.accounts import SLOTS_SUFFIX, account_info_of, resets_at
from costscope.pricing.money import format_amount

if TYPE_CHECKING:
    from costscope.engine.state.scope_state import ScopeState
    from costscope.errors import CallDenied, LimitDenial
    from costscope.ledger import Account, Denial, Reply
    from costscope.policy.model.controls import OnDenied

RETRY_AFTER_S: Final = 1.0
"""What `in_flight` suggests: a model call lasts seconds, so looking again every second is soon enough."""


def budget_exceeded(what: str, accounts: tuple[Account, ...], reply: Reply) -> BudgetExceeded:
    """Return what a `DENIED` reserve on these accounts raises; `what` was refused, such as `model gpt-4o`."""
    denial = reply.denial
    assert denial is not None, "a DENIED reply says why"
    account = accounts[denial.account]
    info = account_info_of(account.about)
    where = ", ".join(f"{name}={value}" for name, value in info.present.items())
    retry_after = RETRY_AFTER_S if DENIALS[denial.kind].waits else None
    wait = "Wait for the reset, r" if resets_at(account) is not None else "R"
    remedy = DENIALS[denial.kind].remedy
    message = (
        f"{what}: {_name(info.budget)}{f' ({where})' if where else ''} refuses "
        f"{format_amount(denial.meter, denial.requested)}: limit {format_amount(denial.meter, denial.limit)}, "
        f"spent {format_amount(denial.meter, denial.spent)}, held {format_amount(denial.meter, denial.held)} "
        f"({denial.kind}).{reset_of(account)} {remedy.format(retry_after=retry_after, wait=wait)}"
    )
    return _refusal_of(denial, account, message)


def _name(budget: str) -> str:
    budget = budget.removesuffix(SLOTS_SUFFIX)
    if budget == RUN_BUDGET:
        return "the run's own limit"
    return "the limit set on the scope itself" if budget == INLINE_BUDGET else f"budget {budget!r}"


def forbids_runs(run: str, accounts: tuple[Account, ...], reply: Reply) -> BudgetExceeded:
    """Return the refusal of a run by a level from which on a budget admits no new ones: it asked for nothing of the meter."""
    denial = reply.denial
    assert denial is not None, "a DENIED reply says why"
    account = accounts[denial.account]
    info = account_info_of(account.about)
    if denial.meter == HALTS:
        why = "was told to admit no new runs; reset it to admit them again"
    else:
        limit = info.limits.get(denial.meter, denial.limit)
        why = (
            f"admits no new runs from {format_amount(denial.meter, denial.limit + 1)} on (limit "
            f"{format_amount(denial.meter, limit)}): spent {format_amount(denial.meter, denial.spent)}, held "
            f"{format_amount(denial.meter, denial.held)}. Wait for calls in flight or the reset, or raise the limit"
        )
    message = f"run {run}: {_name(info.budget)} {why}.{reset_of(account)}"
    return _refusal_of(denial, account, message, above=1)


def _refusal_of(denial: Denial, account: Account, message: str, above: int = 0) -> BudgetExceeded:
    return refusal(
        account,
        message,
        kind=denial.kind,
        meter=denial.meter,
        limit=denial.limit + above,
        spent=denial.spent,
        held=denial.held,
        requested=denial.requested,
        retry_after=RETRY_AFTER_S if DENIALS[denial.kind].waits else None,
    )


def refusal(
    account: Account,
    message: str,
    *,
    kind: LimitDenial,
    meter: str,
    limit: int,
    spent: int,
    held: int,
    requested: int = 0,
    retry_after: float | None = None,
) -> BudgetExceeded:
    """Return the error of an account that refuses something: its budget, its labels and its reset, and these numbers."""
    info = account_info_of(account.about)
    return BudgetExceeded(
        message,
        kind=kind,
        budget=info.budget.removesuffix(SLOTS_SUFFIX),
        labels=info.present,
        meter=meter,
        limit=limit,
        spent=spent,
        held=held,
        requested=requested,
        resets_at=resets_at(account),
        retry_after=retry_after,
    )


def reset_of(account: Account) -> str:
    """Return when an account is reset, as a sentence that follows another; nothing where it is not."""
    until = resets_at(account)
    return f" Resets at {until:%Y-%m-%d %H:%M:%S} UTC." if until is not None else ""


def contradicts(what: str, reply: Reply) -> Exception:
    """Return the error for an answer that is neither a grant nor a refusal: the books and the call do not agree."""
    outcome = reply.outcome
    if outcome is Outcome.OVERFLOW:
        msg = f"{what}: a sum would pass 2^53-1, the most a ledger counts; nothing was entered"
        return AmountOverflow(msg)
    if outcome is Outcome.MISMATCH:
        msg = f"{what}: this id or idempotency key was used with another payload; use another key for another call"
        return HoldMismatch(msg)
    msg = f"{what}: the store answered {outcome.name.lower()}, its clock does not agree with the proposed window"
    return StoreUnavailable(msg)


def value_instead(scope: ScopeState, told: OnDenied | None, error: CallDenied) -> Any:
    """Return what a refused call gives instead of raising.

    Args:
        scope: of the call.
        told: what the call was told to do; None: what the budget that refuses it says.
        error: the refusal.

    Raises:
        CallDenied: it raises. A halted run does so always: a loop that goes on with a value would never end.
    """
    said = told
    if said is None and isinstance(error, BudgetExceeded):
        said = scope.on_denied(error.budget)
    if said is None or said.do != "return" or isinstance(error, RunHalted):
        raise error
    return said.value


def call_unscoped() -> CallUnscoped:
    """Return the refusal of a call outside every scope."""
    message = (
        "a metered call was made outside every budget scope. Open one with `with budget_scope(...)`. In a plain "
        "thread or an executor the scope of the caller is lost: wrap the function with costscope.bind_scope(fn), or "
        "use costscope.ScopedExecutor. To let such calls through, say `unscoped: allow` in the policy."
    )
    return CallUnscoped(message)
