"""The limits on the turns of a run's loop: which accounts count them, and how many they allow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from costscope.engine.control.effects import apply_caps
from costscope.errors import BudgetExceeded
from costscope.ledger import HALTS, MAX_AMOUNT
from costscope.policy import RUN_BUDGET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costscope.engine.state.scope_state import ScopeState
    from costscope.ledger import Account

TURNS: Final = "iterations"
"""The meter."""


def counting_accounts(scope: ScopeState, now_ms: int) -> tuple[Account, ...]:
    """The accounts that count iterations, or may hold an order to stop; none where nothing does."""
    accounts = scope.accounts(now_ms)
    return tuple(a for a in accounts if any(meter in {TURNS, HALTS} for meter, _ in a.limits))


def cap_of(scope: ScopeState) -> int | None:
    """The most iterations the run may make by now, where a threshold or a runaway has limited them; else None."""
    working, watch = scope.run, scope.watch
    if working is None:
        return None
    caps = (*working.effects.iterations, *(watch.effects().iterations if watch is not None else ()))
    if not caps:
        return None
    own = [limit for account in (*scope.inline, working.account) if account for limit in _turns(account)]
    return apply_caps(min(own, default=None), caps)


def _turns(account: Account) -> Iterator[int]:
    yield from (limit for meter, limit in account.limits if meter == TURNS and limit < MAX_AMOUNT)


def cap_iterations(accounts: tuple[Account, ...], run: Account | None, cap: int) -> tuple[Account, ...]:
    """The same, with fewer iterations for the run: decided in the store, for all its processes."""
    return tuple(
        msgspec.structs.replace(
            account,
            limits=tuple((m, min(limit, cap) if m == TURNS else limit) for m, limit in account.limits),
        )
        if account is run
        else account
        for account in accounts
    )


def fewer(cap: int, made: int) -> BudgetExceeded:
    """The refusal of a turn above the cap."""
    msg = (
        f"iteration: a threshold or a runaway has limited the run to {cap} iterations (limit_capabilities), and "
        f"{made} were made. Raise the budget, or end the run here."
    )
    return BudgetExceeded(
        msg,
        kind="exhausted",
        budget=RUN_BUDGET,
        labels={},
        meter=TURNS,
        limit=cap,
        spent=made,
        held=0,
        requested=1,
        resets_at=None,
        retry_after=None,
    )
